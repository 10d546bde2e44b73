"""Training with masks of objects: each object of an image, whatever it is."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from mrp._arrays import array_of
from mrp._dataset import Dataset
from mrp._estimator import document
from mrp._model import Instances
from mrp._mrp import ArgumentError, Progress
from mrp._segmenter import MaskEstimator


class InstanceSegmenter(MaskEstimator):
    """A network that finds each object of an image and its pixels, with or without pretraining. It knows no classes.

        mrp.InstanceSegmenter(encoder=mae, epochs=50).fit(images, masks)            # fine-tunes a copy of mae's encoder
        mrp.InstanceSegmenter(consistency=1.0).fit(images, masks, unlabeled=more)   # annotations that may be incomplete
        found = mrp.InstanceSegmenter.load("instances.safetensors").predict(images)

    Images are as for a Classifier. masks: (count, height, width), 0 for the ground and another id for each object of the image; pixels of
    `ignore_label` (255; -1 where there are more objects) are not known, and an image without any others is unlabelled. A dataset with masks
    of objects, or the path of a folder of VOC or CVAT with SegmentationObject, brings its own.

    Parameters
    ----------
    encoder : a fitted MaskedAutoencoder, a Model, the path of a safetensors file, or the name of a size (see below)
    {parameters}

    Attributes
    ----------
    model_ : Model, there as soon as fit begins: an interrupted fit keeps what was learned
    history_ : list of dicts, one per epoch: epoch, step, loss (mean), learning_rate, images_per_second, seconds
    """

    _task = "instances"
    _kind = "objects"

    def fit(
        self,
        X: Any,
        masks: Any = None,
        *,
        unlabeled: Any = None,
        validation: Any = None,
        callback: Callable[[Progress], Any] | None = None,
    ) -> Self:
        """Train on images and their masks; masks stay None for a dataset, or a folder, that has them.

        unlabeled: more images of the same size, which have a part in the loss of `consistency` alone; in a folder those without a mask
        are such. Training begins with fresh weights, or those of `encoder`. callback(progress) is called after each step; a true answer
        ends the run early. validation: images and masks (X, masks), or a dataset with masks, on which the run is measured (`ap50`).
        """
        self._begin()
        dataset = self._with_masks(X, masks) if unlabeled is None else self._with_unlabeled(X, masks, unlabeled)
        self._fit(dataset, validation, callback)
        return self

    def _with_unlabeled(self, X: Any, masks: Any, unlabeled: Any) -> Dataset:
        if masks is None:
            raise ArgumentError("unlabeled images come with images and masks in arrays: in a folder those without a mask are unlabelled")
        images, masks, more = array_of(X), array_of(masks), array_of(unlabeled)
        if images.shape[1:] != more.shape[1:] or images.dtype != more.dtype:
            raise ArgumentError(
                f"unlabeled images are {more.dtype} {more.shape[1:]}, the others {images.dtype} {images.shape[1:]}: they must be alike"
            )
        ignored = int(self._mask_options().get("ignore_label", 255))
        masks = masks.astype(np.int32)
        none = np.full((len(more), *masks.shape[1:]), ignored, np.int32)
        return self._with_masks(np.concatenate([images, more]), np.concatenate([masks, none]))

    def predict(self, X: Any) -> list[Instances]:
        """The objects of each image: scores, boxes, and a map of their numbers at its own size."""
        return self.model_.instances(self._dataset(X), self._config())

    def score(self, X: Any, masks: Any = None) -> float:
        """COCO's average precision at an intersection over union of a half, over all images together."""
        return self.model_.evaluate(self._with_masks(X, masks), "ap50", self._config())


document(InstanceSegmenter, "network", "objective", "training", "data", "run", "measurement")
