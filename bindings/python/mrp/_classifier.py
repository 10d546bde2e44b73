"""Training with labels: from scratch, or from a pretrained encoder."""

import os
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from mrp._config import Config
from mrp._dataset import Dataset, as_dataset
from mrp._estimator import Estimator, document
from mrp._labels import Labels, at_level, check_same_kind, cut, known_above, label_array, labels_of, places_in
from mrp._log import logger
from mrp._model import FloatArray, Model
from mrp._mrp import ArgumentError, Progress
from mrp._supervised import Supervised

Prior = Literal["training", "uniform"]


class Classifier(Supervised):
    """A network that learns classes of images, with or without pretraining.

        mrp.Classifier(encoder=mae, epochs=50).fit(images, labels)            # fine-tunes a copy of mae's encoder
        mrp.Classifier(encoder="encoder.safetensors").fit(images, labels)
        mrp.Classifier(encoder="vit_mini", epochs=50).fit(images, labels)     # the same network from scratch

    Images are arrays or CPU tensors (uint8, uint16 or float; NCHW or NHWC; flat with image_shape) or Pillow images with one label
    each, the path of an image folder with a folder per class, or a labelled Dataset.

    Labels may be a tree, 'cat/persian' and so on: label_level=1 learns, answers and scores their first part, and a classifier of finer
    classes answers at that level after set_params(label_level=1).

    Parameters
    ----------
    encoder : a fitted MaskedAutoencoder, a Model, the path of a safetensors file, or the name of a size (see below)
    class_weight : None, or "balanced": images weigh as n_samples / (n_classes * bincount(y)), which is loss="balanced"
    {parameters}

    Attributes
    ----------
    model_ : Model, there as soon as fit begins: an interrupted fit keeps what was learned
    classes_ : array of the classes, in the order of predict_proba's columns
    history_ : list of dicts, one per epoch: epoch, step, loss (mean), learning_rate, images_per_second, seconds
    """

    _own: ClassVar[dict[str, Any]] = {"encoder": None, "class_weight": None, **Supervised._own}
    _kind: ClassVar[str] = "classifier"

    class_weight: str | None

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes that it answers with: at the option label_level."""
        if "classes_" not in vars(self):
            raise AttributeError("classes_")
        return at_level(vars(self)["classes_"], self.label_level)

    @classes_.setter
    def classes_(self, classes: npt.NDArray[Any]) -> None:
        vars(self)["classes_"] = classes

    def fit(self, X: Any, y: Any = None, *, validation: Any = None, callback: Callable[[Progress], Any] | None = None) -> Self:
        """Train on images and their labels; y may be numbers, texts, bytes, flags or dates, and stays None for a labelled dataset.

        As in scikit-learn, mixed types, missing values and continuous numbers are refused. With the option `classes` above the number of
        classes in y, whole numbers 0 ... classes - 1 are all classes; with other labels the rest of the outputs stands for nothing.

        Training begins with fresh weights, or those of `encoder`: also after `load`, with a warning. Images are cropped at random and, with
        a warning, mirrored where the option `augmentation` does not say otherwise; batch_size and epochs follow from the number of images.

        callback(progress) is called after each step; a true answer ends the run early. validation: images and labels (X, y), or a
        labelled dataset, on which the run is measured: see the options early_stopping, restore_best and validate_epochs.
        """
        self._begin()
        if y is None:
            dataset = self._dataset(X)
            classes = self._all_classes(dataset._classes) if dataset.class_names is None else dataset._classes
        else:
            y = label_array(y)
            classes = self._all_classes(np.unique(y))
            dataset = self._dataset(X, places_in(classes, y)).with_class_names(classes)
        pretrained = self._pretrained()
        config = self._config(dataset)
        if pretrained is None and self.encoder is not None:
            config["encoder"] = self.encoder
        self.model_ = Model(config) if pretrained is None else pretrained
        self.history_ = []
        self.classes_ = at_level(classes, self.label_level)
        self.model_.validate_on(None if validation is None else self._held_out(validation, classes))
        self._run(self.model_.finetune, dataset, config, callback)
        return self

    def _config(self, dataset: Dataset | None = None) -> Config:
        config = super()._config(dataset)
        if self.class_weight is None:
            return config
        if self.class_weight != "balanced":
            raise ArgumentError(f"class_weight {self.class_weight!r} is neither None nor 'balanced'")
        if config.is_set("loss") and config["loss"] != "balanced":
            raise ArgumentError(f"class_weight='balanced' is the loss 'balanced', loss is {config['loss']!r}: give one of them")
        config["loss"] = "balanced"
        return config

    def _all_classes(self, classes: Labels) -> Labels:
        """The classes of the labels; the numbers below the option `classes` where these are such numbers."""
        given = self._config()["classes"]
        if given == "auto" or classes.dtype.kind not in "iu" or not len(classes) or not 0 <= int(classes[0]) <= int(classes[-1]) < given:
            return classes
        return np.arange(given, dtype=classes.dtype)

    def _held_out(self, validation: Any, classes: Labels) -> Dataset:
        """Images with labels, numbered as those of the training."""
        if not isinstance(validation, tuple):
            return self._dataset(validation)
        X, y = validation
        classes = at_level(classes, self.label_level)
        y = known_above(cut(label_array(y), self.label_level), classes)
        places = places_in(classes, y)
        if (places < 0).any():
            raise ArgumentError(f"the held-out images have classes that the training images lack, such as {y[int(places.argmin())]!r}")
        return self._dataset(X, places).with_class_names(classes)

    def _with_prior(self, prior: Prior | None) -> Config:
        config = self._config()
        if prior is not None:
            config["prior"] = prior
        return config

    def predict_proba(self, X: Any, *, prior: Prior | None = None) -> FloatArray:
        """Class probabilities (count, classes), columns in the order of `classes_`.

        prior: "training" or "uniform", as the option says: after training on few images of some classes and many of others, "uniform" takes
        all classes for equally likely beforehand.
        """
        shares = self.model_.predict_proba(self._dataset(X), self._with_prior(prior))
        if shares.shape[1] == len(self.classes_):
            return shares
        # The other outputs stand for no class.
        known = shares[:, : len(self.classes_)]
        known /= known.sum(axis=1, keepdims=True)
        return known

    def predict(self, X: Any, *, prior: Prior | None = None) -> npt.NDArray[Any]:
        """The most probable class of each image; `prior` as in predict_proba."""
        result: npt.NDArray[Any] = self.classes_[np.argmax(self.predict_proba(X, prior=prior), axis=1)]
        return result

    def score(self, X: Any, y: Any = None) -> float:
        """Accuracy, 0 ... 1, on images and their labels; y stays None for a labelled dataset, whose classes are matched by name.

        Images of classes that the classifier does not know count as wrong, with a warning. Labels of another kind than the classes, texts
        instead of numbers for example, raise.
        """
        dataset = self._dataset(X)
        if y is None:
            if dataset.labels is None:
                raise ArgumentError("labels are missing: pass y, or a labelled dataset")
            return self.model_.evaluate(dataset, "top1", self._config())
        truth = known_above(cut(label_array(y), self.label_level), self.classes_)
        if truth.shape != (len(dataset),):
            raise ArgumentError(f"labels have the shape {truth.shape}, expected ({len(dataset)},)")
        unknown = places_in(self.classes_, truth) < 0
        if unknown.any():
            few = ", ".join(map(str, np.unique(truth[unknown])[:8]))
            logger.warning(
                "%d of %d images have classes (%s) that are none of the classifier's: they count as wrong", unknown.sum(), len(truth), few
            )
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
        ours = model.info["libmrp"]
        names = ours.get("class_names")
        estimator.classes_ = labels_of(names, ours.get("label_type")) if names else np.arange(model.classes)
        return estimator


class LinearProbe(Classifier):
    """How good are an encoder's features? A linear classifier on top of the encoder, which stays as it is.

        mrp.LinearProbe(mae, epochs=20).fit(images, labels).score(test_images, test_labels)

    Everything else is as in a Classifier, with the option frozen_encoder set; see also `mrp.knn_score`, which needs no training.

    Parameters
    ----------
    encoder : a fitted MaskedAutoencoder, a Model, or the path of a safetensors file
    {parameters}

    Attributes
    ----------
    model_ : Model, a copy of the encoder with its classifier
    classes_ : array of the classes, in the order of predict_proba's columns
    history_ : list of dicts, one per epoch: epoch, step, loss (mean), learning_rate, images_per_second, seconds
    """

    def _config(self, dataset: Dataset | None = None) -> Config:
        config = super()._config(dataset)
        config["frozen_encoder"] = True
        return config

    def _pretrained(self) -> Model:
        model = super()._pretrained()
        if model is None:
            raise ArgumentError(f"encoder {self.encoder!r} is no pretrained encoder: a probe measures one")
        return model


def knn_score(encoder: Any, X: Any, y: Any, X_test: Any, y_test: Any, *, k: int = 20, temperature: float = 0.07, **options: Any) -> float:
    """Accuracy of a weighted nearest-neighbour classifier on an encoder's features: a measure without training.

    The k images of (X, y) with the largest cosine similarity s to a test image vote for their class with the weight
    exp(s / temperature) (Wu et al. 2018; Caron et al. 2021 use k = 20 and 0.07). encoder: a fitted estimator or a Model; `options`
    are those of its `encode`, such as features="cls". y and y_test stay None for labelled datasets.
    """
    model = encoder.model_ if isinstance(encoder, Estimator) else encoder
    convert = encoder._dataset if isinstance(encoder, Estimator) else as_dataset
    if y is None or y_test is None:
        known, wanted = convert(X, y), convert(X_test, y_test)
    else:
        # One numbering for both: labels may be names, and test images may have classes that no known image has.
        y, y_test = label_array(y), label_array(y_test)
        check_same_kind(y_test, y)
        classes = np.unique(np.concatenate([y, y_test]))
        known, wanted = (
            convert(images, places_in(classes, labels)).with_class_names(classes) for images, labels in ((X, y), (X_test, y_test))
        )
    return model.probe(known, wanted, "knn", knn_k=k, knn_temperature=temperature, **options)


document(Classifier, "network", "objective", "training", "data", "run", "measurement")
document(LinearProbe, "objective", "training", "data", "run", "measurement")
