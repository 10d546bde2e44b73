"""Training with labels: from scratch, or from a pretrained encoder."""

import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from mrp._config import option_of
from mrp._dataset import Dataset, as_dataset
from mrp._estimator import Estimator, document
from mrp._model import FloatArray, Model
from mrp._mrp import ArgumentError, Progress

# Options of the network that a pretrained encoder leaves open.
_HEAD_OPTIONS = ("pooling", "classes")


class Classifier(Estimator):
    """A vision transformer that learns classes of images, with or without pretraining.

        mrp.Classifier(encoder=mae, epochs=50).fit(images, labels)            # fine-tunes a copy of mae's encoder
        mrp.Classifier(encoder="encoder.safetensors").fit(images, labels)
        mrp.Classifier(encoder="vit_mini", epochs=50).fit(images, labels)     # the same network from scratch

    Images are arrays (uint8, uint16 or float; NCHW or NHWC) with one label each, a labelled Dataset, or an ImageFolder.

    Parameters
    ----------
    encoder : a fitted MaskedAutoencoder, a Model, the path of a safetensors file, or the name of a size (see below)
    {parameters}

    Attributes
    ----------
    model_ : Model, there as soon as fit begins: an interrupted fit keeps what was learned
    classes_ : array of the classes, in the order of predict_proba's columns
    history_ : list of dicts, one per epoch: epoch, step, loss (mean), learning_rate, images_per_second, seconds
    """

    _own: ClassVar[dict[str, Any]] = {"encoder": None, **Estimator._own}
    _kind: ClassVar[str] = "classifier"

    encoder: Any
    classes_: npt.NDArray[Any]

    def __init__(self, encoder: Any = None, **parameters: Any) -> None:
        super().__init__(encoder=encoder, **parameters)

    def fit(self, X: Any, y: Any = None, *, callback: Callable[[Progress], Any] | None = None) -> Self:
        """Train on images and their labels; y may be integers or names, and stays None for a labelled dataset.

        callback(progress) is called after each step; a true answer ends the run early.
        """
        if y is None:
            dataset = as_dataset(X)
            classes = _classes_of(dataset)
        else:
            classes, numbers = np.unique(np.asarray(y), return_inverse=True)
            dataset = as_dataset(X, numbers)
        pretrained = self._pretrained()
        config = self._config(dataset)
        if pretrained is None and self.encoder is not None:
            config["encoder"] = self.encoder
        self.model_ = Model(config) if pretrained is None else pretrained
        self.history_ = []
        self.classes_ = classes
        self._run(self.model_.finetune, dataset, config, callback)
        return self

    def _pretrained(self) -> Model | None:
        """A copy of the encoder's model, or None when the encoder is to be made."""
        encoder = self.encoder
        if isinstance(encoder, Estimator):
            encoder = encoder.model_
        if isinstance(encoder, Model):
            model = encoder.copy()
        elif isinstance(encoder, os.PathLike) or (isinstance(encoder, str) and (os.sep in encoder or encoder.endswith(".safetensors"))):
            model = Model.load(encoder)
        elif encoder is None or isinstance(encoder, str):
            return None
        else:
            raise ArgumentError(f"encoder {encoder!r} is neither an estimator, a model, a path nor a name")
        for name in self._options():
            option = option_of(name)
            if option and option.section == "network" and name not in _HEAD_OPTIONS:
                raise ArgumentError(f"option '{name}' cannot be given: the pretrained encoder has it already")
        return model

    def predict_proba(self, X: Any) -> FloatArray:
        """Class probabilities (count, classes), columns in the order of `classes_`."""
        return self.model_.predict_proba(X, self._config())

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each image."""
        result: npt.NDArray[Any] = self.classes_[np.argmax(self.predict_proba(X), axis=1)]
        return result

    def score(self, X: Any, y: Any = None) -> float:
        """Accuracy, 0 ... 1, on images and their labels; y stays None for a labelled dataset."""
        dataset = as_dataset(X)
        if y is None:
            labels = dataset.labels
            if labels is None:
                raise ArgumentError("labels are missing: pass y, or a labelled dataset")
            y = _classes_of(dataset)[labels]
        truth = np.asarray(y)
        if truth.shape != (len(dataset),):
            raise ArgumentError(f"labels have the shape {truth.shape}, expected ({len(dataset)},)")
        return float(np.mean(self.predict(dataset) == truth))

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """The classifier in a safetensors file; options as those of Model.load."""
        return cls._of_model(Model.load(path, **options))

    @classmethod
    def _of_model(cls, model: Model) -> Self:
        if not model.classes:
            raise ArgumentError("the file holds no classifier: load it with MaskedAutoencoder.load, or pass its path as encoder")
        estimator = super()._of_model(model)
        names = model.info["libmrp"].get("class_names") or []
        numbered = names == [str(index) for index in range(len(names))]
        estimator.classes_ = np.arange(model.classes) if numbered else np.asarray(names)
        return estimator

    def __sklearn_clone__(self) -> Self:
        # A pretrained encoder is what the parameter is about: copies for cross-validation keep it.
        return type(self)(**self.get_params(deep=False))


def _classes_of(dataset: Dataset) -> npt.NDArray[Any]:
    names = dataset.class_names
    return np.arange(dataset.classes) if names is None else np.asarray(names)


document(Classifier, "network", "objective", "training", "data", "run")
