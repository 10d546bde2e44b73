"""Training with labels: from scratch, or from a pretrained encoder."""

import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from mrp._config import Config, option_of
from mrp._dataset import Dataset, array_of, as_dataset
from mrp._estimator import Estimator, document
from mrp._model import FloatArray, Model
from mrp._mrp import ArgumentError, Progress

# Options of the network that a pretrained encoder leaves open.
_HEAD_OPTIONS = ("pooling", "classes")


class Classifier(Estimator):
    """A network that learns classes of images, with or without pretraining.

        mrp.Classifier(encoder=mae, epochs=50).fit(images, labels)            # fine-tunes a copy of mae's encoder
        mrp.Classifier(encoder="encoder.safetensors").fit(images, labels)
        mrp.Classifier(encoder="vit_mini", epochs=50).fit(images, labels)     # the same network from scratch

    Images are arrays or CPU tensors (uint8, uint16 or float; NCHW or NHWC; flat with image_shape) or Pillow images with one label
    each, the path of an image folder with a folder per class, or a labelled Dataset.

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

    def fit(self, X: Any, y: Any = None, *, validation: Any = None, callback: Callable[[Progress], Any] | None = None) -> Self:
        """Train on images and their labels; y may be integers or names, and stays None for a labelled dataset.

        callback(progress) is called after each step; a true answer ends the run early. validation: images and labels (X, y), or a
        labelled dataset, on which the run is measured: see the options early_stopping, restore_best and validate_epochs.
        """
        if y is None:
            dataset = self._dataset(X)
            classes = _classes_of(dataset)
        else:
            classes, numbers = np.unique(array_of(y), return_inverse=True)
            dataset = self._dataset(X, numbers)
            if classes.dtype.kind not in "iu" or not np.array_equal(classes, np.arange(len(classes))):
                dataset = dataset.with_class_names([str(name) for name in classes])
        pretrained = self._pretrained()
        config = self._config(dataset)
        if pretrained is None and self.encoder is not None:
            config["encoder"] = self.encoder
        self.model_ = Model(config) if pretrained is None else pretrained
        self.history_ = []
        self.classes_ = classes
        self.model_.validate_on(None if validation is None else self._held_out(validation, classes))
        self._run(self.model_.finetune, dataset, config, callback)
        return self

    def _held_out(self, validation: Any, classes: npt.NDArray[Any]) -> Dataset:
        """Images with labels, numbered as those of the training."""
        if not isinstance(validation, tuple):
            return self._dataset(validation)
        X, y = validation
        truth = array_of(y)
        numbers = np.searchsorted(classes, truth).clip(0, len(classes) - 1)
        if not np.array_equal(classes[numbers], truth):
            raise ArgumentError("the held-out images have classes that the training images lack")
        return self._dataset(X, numbers)

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
        return self.model_.predict_proba(self._dataset(X), self._config())

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each image."""
        result: npt.NDArray[Any] = self.classes_[np.argmax(self.predict_proba(X), axis=1)]
        return result

    def score(self, X: Any, y: Any = None) -> float:
        """Accuracy, 0 ... 1, on images and their labels; y stays None for a labelled dataset."""
        dataset = self._dataset(X)
        if y is None:
            labels = dataset.labels
            if labels is None:
                raise ArgumentError("labels are missing: pass y, or a labelled dataset")
            y = _classes_of(dataset)[labels]
        truth = array_of(y)
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
        estimator.classes_ = _labels_named(model.info["libmrp"].get("class_names") or [str(index) for index in range(model.classes)])
        return estimator

    def __sklearn_clone__(self) -> Self:
        # A pretrained encoder is what the parameter is about: copies for cross-validation keep it.
        return type(self)(**self.get_params(deep=False))


def _labels_named(names: list[str]) -> npt.NDArray[Any]:
    """The labels behind the names in a file: integers or flags where the names are their texts."""
    if names == ["False", "True"]:
        return np.array([False, True])
    try:
        numbers = [int(name) for name in names]
    except ValueError:
        return np.asarray(names)
    return np.asarray(numbers) if [str(number) for number in numbers] == names else np.asarray(names)


def _classes_of(dataset: Dataset) -> npt.NDArray[Any]:
    names = dataset.class_names
    return np.arange(dataset.classes) if names is None else np.asarray(names)


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
        y, y_test = array_of(y), array_of(y_test)
        classes, numbers = np.unique(np.concatenate([y, y_test]), return_inverse=True)
        names = [str(number) for number in range(len(classes))]
        known, wanted = (convert(*part).with_class_names(names) for part in ((X, numbers[: len(y)]), (X_test, numbers[len(y) :])))
    return model.probe(known, wanted, "knn", knn_k=k, knn_temperature=temperature, **options)


document(Classifier, "network", "objective", "training", "data", "run", "measurement")
document(LinearProbe, "objective", "training", "data", "run", "measurement")
