"""Pretraining without labels: the masked autoencoder of He et al. 2021."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from mrp._estimator import Estimator, document
from mrp._model import Experts, FloatArray, Model, Reconstruction
from mrp._mrp import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mrp._classifier import Classifier


class MaskedAutoencoder(Estimator):
    """A network that learns to reconstruct what is hidden of images: MAE (He et al. 2021), or SparK when it is convolutional.

        mae = mrp.MaskedAutoencoder(encoder="vit_mini", epochs=20, random_state=0).fit(images)
        features = mae.transform(images)

    Images are arrays or CPU tensors (uint8, uint16 or float; NCHW or NHWC; flat with image_shape), a list of Pillow images, the path of
    an image folder, or a Dataset. Labels are never read.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    model_ : Model, there as soon as fit begins: an interrupted fit keeps what was learned
    history_ : list of dicts, one per epoch: epoch, step, loss (mean), learning_rate, images_per_second, seconds
    """

    _upcycled: Model

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        validation: Any = None,
        reference: Any = None,
        callback: Callable[[Progress], Any] | None = None,
    ) -> Self:
        """Pretrain on images, from fresh weights: also after `load`, with a warning (`model_.pretrain` goes on). After `upcycle` from the
        weights that it took over.

        callback(progress) is called after each step; a true answer ends the run early. y is ignored. validation and reference: labelled
        datasets on which the features are measured during the run, by probes that learn from the reference: see the options probe,
        validate_epochs and early_stopping.
        """
        dataset = self._dataset(X)
        config = self._config(dataset)
        if upcycled := vars(self).get("_upcycled"):
            self.model_ = upcycled.copy()
        else:
            self._begin()
            self.model_ = Model(config)
        self.model_.validate_on(validation, reference)
        self.history_ = []
        self._run(self.model_.pretrain, dataset, config, callback)
        return self

    def transform(self, X: Any) -> FloatArray:
        """Features (count, width) of images, as the options `features` and `layer` say."""
        return self.model_.encode(self._dataset(X), self._config())

    def encode(self, X: Any, **options: Any) -> FloatArray:
        """Features with other options than the estimator's: features='mean', 'cls' or 'tokens', layer=0 (the last), 1, 2, ..."""
        config = self._config()
        config.update(options)
        return self.model_.encode(self._dataset(X), config)

    def fit_transform(self, X: Any, y: Any = None, *, callback: Callable[[Progress], Any] | None = None) -> FloatArray:
        """Pretrain on images and return their features."""
        return self.fit(X, y, callback=callback).transform(X)

    def reconstruct(self, X: Any, *, mask: Any = None) -> Reconstruction:
        """Hide patches of images, at random or as `mask` says (True = hidden), and reconstruct them (see `Reconstruction`)."""
        return self.model_.reconstruct(self._dataset(X), self._config(), mask=mask)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the reconstruction loss over hidden patches: larger is better."""
        return -self.model_.evaluate(self._dataset(X), "reconstruction_loss", self._config())

    # -- Experts (docs/experts.md)

    def upcycle(self, X: Any, *, experts: int = 4, **options: Any) -> Self:
        """A mixture of experts that computes what this one computes; its fit goes on from there.

            moe = mae.upcycle(images, experts=4).fit(images)
            mrp.Classifier(moe.extract(task_images), epochs=50).fit(few, labels)

        The images are clustered, and each goes to the expert of its cluster (moe_routing='cluster'; Liu et al. 2023). Options are those
        of the mixture, and of its fit where this one's are not to hold.
        """
        parameters = self.get_params(deep=False) | options | {"moe_experts": experts}
        estimator = type(self)(**parameters)
        estimator._upcycled = self.model_.upcycle(self._dataset(X), estimator._config())
        estimator.model_, estimator.history_ = estimator._upcycled.copy(), []
        return estimator

    def experts(self, X: Any) -> Experts:
        """How many images go to each expert, and how well each reconstructs all of them."""
        return self.model_.experts(self._dataset(X), self._config())

    def extract(self, X: Any = None, *, expert: int = -1) -> "MaskedAutoencoder":
        """One expert as an ordinary masked autoencoder: that of this number, or the one with the smallest loss on these images."""
        dataset = None if X is None else self._dataset(X)
        return MaskedAutoencoder._of_model(self.model_.extract(dataset, self._config(), expert=expert))

    def plot_reconstructions(self, X: Any, *, mask: Any = None) -> "Figure":
        """A matplotlib figure with the original, the masked and the reconstructed form of each image."""
        from mrp._plots import plot_reconstructions

        return plot_reconstructions(self.reconstruct(X, mask=mask), self.model_.grid)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """The masked autoencoder in a safetensors file; options as those of Model.load."""
        return cls._of_model(Model.load(path, **options))


document(MaskedAutoencoder, "network", "objective", "training", "data", "run", "measurement")


def load(path: str | os.PathLike[str], **options: Any) -> "MaskedAutoencoder | Classifier":
    """The estimator in a file of any spelling: a Classifier when the model has one, else a MaskedAutoencoder. Options as of Model.load."""
    from mrp._classifier import Classifier

    model = Model.load(path, **options)
    if model.classes:
        return Classifier._of_model(model)
    return MaskedAutoencoder._of_model(model)
