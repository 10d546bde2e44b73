"""Training with masks: a class for each pixel."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from mrp._config import Config
from mrp._dataset import Dataset, MaskFolder
from mrp._estimator import FOLDER_OPTIONS, document
from mrp._labels import labels_of
from mrp._model import Maps, Model
from mrp._mrp import ArgumentError, Progress
from mrp._supervised import Supervised

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What MaskFolder and `Dataset.with_masks` read beside what ImageFolder does.
_MASK_OPTIONS = ("ignore_label", "classes")


class MaskEstimator(Supervised):
    """An estimator that learns from masks: `_task`, and what the ids of the masks stand for."""

    _task: ClassVar[str]
    _kind: ClassVar[str]

    def _config(self, dataset: Dataset | None = None) -> Config:
        config = super()._config(dataset)
        config["task"] = self._task
        return config

    def _mask_options(self) -> dict[str, Any]:
        return {name: value for name, value in self._options().items() if name in _MASK_OPTIONS} | {"mask_kind": self._kind}

    def _dataset(self, X: Any, labels: Any = None) -> Dataset:
        if isinstance(X, str | os.PathLike) and MaskFolder.is_one(X):
            names = (*FOLDER_OPTIONS, "split")
            own = {name: value for name, value in self._options().items() if name in names and name != "folder_layout"}
            return MaskFolder(X, **own, **self._mask_options())
        return super()._dataset(X, labels)

    def _with_masks(self, X: Any, masks: Any = None) -> Dataset:
        dataset = self._dataset(X)
        if masks is None:
            if not dataset.has_masks:
                raise ArgumentError("masks are missing: pass them, or a dataset or a folder that has them")
            return dataset
        if dataset.has_masks:
            raise ArgumentError("masks were given, but the dataset brings its own")
        return dataset.with_masks(masks, **self._mask_options())

    def _fit(self, dataset: Dataset, validation: Any, callback: Callable[[Progress], Any] | None) -> None:
        """Trains a fresh network, or the pretrained encoder, on a dataset with masks."""
        pretrained = self._pretrained()
        config = self._config(dataset)
        if pretrained is None and self.encoder is not None:
            config["encoder"] = self.encoder
        self.model_ = Model(config) if pretrained is None else pretrained
        self.history_ = []
        if validation is not None:
            validation = self._with_masks(*validation) if isinstance(validation, tuple) else self._with_masks(validation)
        self.model_.validate_on(validation)
        self._run(self.model_.finetune, dataset, config, callback)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """The estimator in a safetensors file; options as those of Model.load."""
        return cls._of_model(Model.load(path, **options))

    @classmethod
    def _of_model(cls, model: Model) -> Self:
        if model.info["libmrp"].get("task") != cls._task:
            raise ArgumentError(f"the file holds no {'segmenter' if cls._task == 'segment' else 'network of instances'}")
        return super()._of_model(model)


class Segmenter(MaskEstimator):
    """A network that learns a class for each pixel, with or without pretraining.

        mrp.Segmenter(encoder=mae, epochs=50).fit(images, masks)                 # fine-tunes a copy of mae's encoder
        mrp.Segmenter(encoder="resnet18", epochs=50).fit("voc")                  # from scratch, on a folder of VOC or CVAT
        maps = mrp.Segmenter.load("segmenter.safetensors").predict(images)

    Images are as for a Classifier. masks: (count, height, width) ids 0, 1, ... of classes; pixels of `ignore_label` (255) belong to none. A
    dataset with masks (MaskFolder, Dataset(images, masks=masks)) or the path of a folder with masks brings its own.

    Parameters
    ----------
    encoder : a fitted MaskedAutoencoder, a Model, the path of a safetensors file, or the name of a size (see below)
    {parameters}

    Attributes
    ----------
    model_ : Model, there as soon as fit begins: an interrupted fit keeps what was learned
    classes_ : array of the classes: their names, or numbers
    history_ : list of dicts, one per epoch: epoch, step, loss (mean), learning_rate, images_per_second, seconds
    """

    _task = "segment"
    _kind = "classes"

    classes_: npt.NDArray[Any]

    def fit(self, X: Any, masks: Any = None, *, validation: Any = None, callback: Callable[[Progress], Any] | None = None) -> Self:
        """Train on images and their masks; masks stay None for a dataset, or a folder, that has them.

        Training begins with fresh weights, or those of `encoder`. callback(progress) is called after each step; a true answer ends the run
        early. validation: images and masks (X, masks), or a dataset with masks, on which the run is measured (`miou`).
        """
        self._begin()
        dataset = self._with_masks(X, masks)
        self.classes_ = dataset._classes
        self._fit(dataset, validation, callback)
        return self

    def predict(self, X: Any) -> Maps:
        """The class of each pixel as its place in `classes_`: uint16 (count, height, width), or a list of arrays where sizes differ."""
        return self.model_.segment(self._dataset(X), self._config())

    def predict_proba(self, X: Any) -> Maps:
        """The probabilities of the classes of each pixel, the last axis in the order of `classes_`.

        float32 (count, height, width, classes), or a list of arrays where sizes differ.
        """
        return self.model_.segment_proba(self._dataset(X), self._config())

    def score(self, X: Any, masks: Any = None) -> float:
        """The mean over classes of intersection over union, over all images together."""
        return self.model_.evaluate(self._with_masks(X, masks), "miou", self._config())

    def confusion_matrix(self, X: Any, masks: Any = None) -> npt.NDArray[np.int64]:
        """Counts (classes, classes): in row t, column p how many pixels of class t were taken for class p."""
        return self.model_.confusion_matrix(self._with_masks(X, masks), self._config())

    def class_ious(self, X: Any, masks: Any = None) -> npt.NDArray[np.float64]:
        """Intersection over union of each class; NaN for one that neither masks nor maps have."""
        counts = self.confusion_matrix(X, masks)
        both = counts.diagonal()
        with np.errstate(invalid="ignore"):
            result: npt.NDArray[np.float64] = both / (counts.sum(0) + counts.sum(1) - both)
        return result

    def plot_maps(self, X: Any, masks: Any = None) -> "Figure":
        """A matplotlib figure: each image, its predicted classes with their boundaries, and its masks where there are some."""
        from mrp._plots import plot_maps

        dataset = self._dataset(X) if masks is None else self._with_masks(X, masks)
        every = range(len(dataset))
        images, maps = [dataset.image(index) for index in every], [np.asarray(ids) for ids in self.predict(dataset)]
        truths = [dataset.mask(index) for index in every] if dataset.has_masks else None
        return plot_maps(images, maps, [str(name) for name in self.classes_], palette(len(self.classes_)), truths)

    @classmethod
    def _of_model(cls, model: Model) -> Self:
        estimator, ours = super()._of_model(model), model.info["libmrp"]
        names = ours.get("class_names")
        estimator.classes_ = labels_of(names, ours.get("label_type")) if names else np.arange(model.classes)
        return estimator


document(Segmenter, "network", "objective", "training", "data", "run", "measurement")


# ---- Pictures


def overlay(image: npt.NDArray[np.float32], ids: npt.NDArray[np.uint16], strength: float = 0.5) -> npt.NDArray[np.float32]:
    """An image (channels, height, width) in 0 ... 1 with the colours of the classes laid over it; class 0 stays as it is."""
    shown = image if image.shape[0] == 3 else np.repeat(image[:1], 3, axis=0)
    numbers = np.minimum(ids, 255)
    colours = palette(256)[numbers].transpose(2, 0, 1) / np.float32(255)
    return np.where(numbers == 0, shown, (1 - strength) * shown + strength * colours).astype(np.float32)


def palette(classes: int) -> npt.NDArray[np.uint8]:
    """The colours of VOC for classes, (classes, 3): black for class 0."""
    numbers = np.arange(classes)
    colours = np.zeros((classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def write_label_map(folder: Path, names: list[str]) -> None:
    """labelmap.txt beside maps, as CVAT writes it."""
    lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(names, palette(len(names)).tolist(), strict=True)]
    (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
