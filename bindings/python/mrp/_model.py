"""A vision encoder with its weights, and the decoder or the classifier that belongs to it."""

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mrp import _mrp
from mrp._config import Config, handle_of, value_of
from mrp._dataset import Dataset, as_dataset
from mrp._labels import at_level
from mrp._mrp import ArgumentError, Progress, StateError

FloatArray = npt.NDArray[np.float32]
Maps = npt.NDArray[Any] | list[npt.NDArray[Any]]
Callback = Callable[[Progress], Any]
Metric = Literal[
    "top1",
    "top5",
    "balanced_top1",
    "many_top1",
    "medium_top1",
    "few_top1",
    "loss",
    "reconstruction_loss",
    "miou",
    "pixel_accuracy",
    "ap50",
    "ar_10",
    "ar_100",
    "recall",
    "false_positives",
]
Options = Config | Mapping[str, Any] | None


class Reconstruction(NamedTuple):
    """What a masked autoencoder makes of images; pixels are in 0 ... 1 (those of float images in their own units)."""

    images: FloatArray
    """The images as the network saw them, (count, channels, height, width)."""
    reconstructions: FloatArray
    """The hidden patches as predicted, the visible ones as they are; same shape.

    A model of norm_pix_loss (the default) predicts standardised patches: they are shown with mean and deviation of the hidden pixels
    themselves, as in the pictures of He et al. 2021, which gives away their brightness; patch_statistics='visible' shows them with those
    of the visible pixels."""
    masks: npt.NDArray[np.bool_]
    """(count, patches); True = hidden."""
    loss: float
    """Mean squared error over hidden patches."""


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class Instances(NamedTuple):
    """The objects that were found in an image, the best first."""

    scores: FloatArray
    """(instances,)"""
    boxes: npt.NDArray[np.int32]
    """(instances, 4): left, top, right and bottom of the mask, one past the last pixel."""
    ids: npt.NDArray[np.uint16]
    """(height, width) of the image: 1, 2, ... for pixels of the first, second, ... instance, 0 for others; where masks overlap, the better
    one has the pixel."""

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """(instances, height, width): the pixels of each in `ids`."""
        masks: npt.NDArray[np.bool_] = self.ids == np.arange(1, len(self.scores) + 1, dtype=np.uint16)[:, None, None]
        return masks


class Experts(NamedTuple):
    """How the experts of a mixture suit images."""

    counts: npt.NDArray[np.int64] | None
    """Images that go to each expert; None where tokens, not images, are routed."""
    losses: npt.NDArray[np.float64]
    """Mean loss of each expert over hidden patches of all images: smaller is better."""
    numbers: npt.NDArray[np.int32] | None
    """The expert of each image; None where tokens, not images, are routed."""


class Model:
    """A network with fresh weights, as the options say.

        model = mrp.Model(encoder="vit_mini", image_size=32, patch_size=4)
        model.pretrain(images, epochs=20)
        model.finetune(mrp.Dataset(images, labels), epochs=50)

    The estimators are made of this; use it to keep your hands on the steps. One call at a time may run on a model (BusyError),
    `cancel()` may be called from any thread.
    """

    # What was said of it beside the library's own notes.
    _remarks: tuple[str, ...] = ()

    def __init__(self, options: Options = None, **more: Any) -> None:
        self._handle = _mrp.model_create(handle_of(options, more))

    @classmethod
    def load(cls, path: str | os.PathLike[str], options: Options = None, **more: Any) -> "Model":
        """The model in a safetensors file, an index of several, or a folder that holds one: of this library, timm, transformers or MAE.

            mrp.Model.load("vit", image_size=96, positions="bicubic")    # what a change needs is asked for, see docs/weights.md

        `notes` lists what was assumed, left out or changed.
        """
        return cls._adopt(_mrp.model_load(path, handle_of(options, more)))

    @classmethod
    def _adopt(cls, handle: Any) -> "Model":
        model = cls.__new__(cls)
        model._handle = handle
        return model

    def save(self, path: str | os.PathLike[str], options: Options = None, **more: Any) -> None:
        """Write a safetensors file that holds everything, and its configuration as JSON beside it.

        names='hub', 'timm', 'transformers5' or 'transformers5_saved'; weights_type='F32', 'F16' or 'BF16'. A folder gets
        model.safetensors and config.json, which transformers' from_pretrained reads.
        """
        _mrp.model_save(self._handle, path, handle_of(options, more))

    def export_onnx(self, path: str | os.PathLike[str], options: Options = None, **more: Any) -> None:
        """Write an ONNX file for any batch size: 'images' (pixels in 0 ... 1) to 'logits' and 'probabilities', or to 'features'."""
        _mrp.model_export_onnx(self._handle, path, handle_of(options, more))

    def export_stablehlo(self, path: str | os.PathLike[str], options: Options = None, **more: Any) -> None:
        """Write what the model computes of `batch_size` images as StableHLO text, and a JSON file beside it that names arguments and
        results: for JAX, IREE or other runtimes."""
        _mrp.model_export_stablehlo(self._handle, path, handle_of(options, more))

    def copy(self) -> "Model":
        """A model with its own copy of the weights."""
        return Model._adopt(_mrp.model_clone(self._handle))

    # -- Facts

    @property
    def info(self) -> dict[str, Any]:
        """Everything that is known about the model: sizes with the names of Hugging Face configurations, and every weight."""
        info: dict[str, Any] = json.loads(_mrp.model_describe(self._handle))
        return info

    @property
    def notes(self) -> list[str]:
        """What was assumed, left out or changed when the model was read from a file."""
        notes: list[str] = self.info.get("notes", [])
        return notes + list(self._remarks)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images that the network sees."""
        info = self.info
        return (info["num_channels"], *pair(info["image_size"]))

    @property
    def patch_shape(self) -> tuple[int, int]:
        """(height, width) of a patch; in a convolutional network of the cells by which images are masked, (1, 1) where they cannot be."""
        return pair(self.info.get("patch_size", self.info.get("cell_size", 1)))

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches in an image."""
        (_, height, width), (patch_height, patch_width) = self.image_shape, self.patch_shape
        return height // patch_height, width // patch_width

    @property
    def classes(self) -> int:
        """Number of classes of the classifier; 0 without one."""
        classes: int = self.info["libmrp"].get("classes", 0)
        return classes

    def class_names(self, options: Options = None, **more: Any) -> list[str]:
        """Names of the classifier's outputs: at the option label_level those of the level; an output without a name has its number."""
        names = self.info["libmrp"].get("class_names") or []
        level = more.get("label_level", (options or {}).get("label_level", 0))
        if level:
            return [str(name) for name in at_level(np.array(names or [str(i) for i in range(self.classes)]), int(level))]
        return names + [str(i) for i in range(len(names), self.classes)]

    def parameter(self, name: str) -> FloatArray:
        """A weight by name, such as 'blocks.0.attn.qkv.weight' (a copy)."""
        count = _mrp.model_parameter(self._handle, name, None)
        values = np.empty(count, np.float32)
        _mrp.model_parameter(self._handle, name, values)
        shapes = {weight["name"]: weight["shape"] for weight in self.info["weights"]}
        return values.reshape(shapes[name])

    def __repr__(self) -> str:
        try:
            info = self.info
        except _mrp.BusyError:
            return "Model(busy)"
        channels, height, width = self.image_shape
        head = f", {self.classes} classes" if self.classes else ""
        network = info.get("architecture") or f"width {info['hidden_size']}, depth {info['num_hidden_layers']}"
        patches = f", patches {' x '.join(map(str, self.patch_shape))}" if "patch_size" in info else ""
        return f"Model({network}, images {channels} x {height} x {width}{patches}, {info['parameters']:,} weights{head})"

    def _repr_html_(self) -> str:
        from mrp._html import model_html

        return model_html(self)

    # -- Training

    def validate_on(self, held_out: Any, reference: Any = None) -> "Model":
        """Measure what follows on labelled images that it does not see; None: no measurements.

        A classifier is measured by its accuracy. An encoder that is pretrained, by probes on its frozen features, which learn from the
        labelled images of `reference`. The options of the section "measurement" say how often and how, and when to stop early; see
        the progress (`top1`, `knn_top1`, `best`, ...) and the logs of a `run_folder`.
        """
        handles = [None if dataset is None else as_dataset(dataset)._handle for dataset in (held_out, reference)]
        _mrp.model_set_validation(self._handle, *handles)
        return self

    def pretrain(self, dataset: Any, options: Options = None, *, callback: Callback | None = None, **more: Any) -> bool:
        """Pretrain as a masked autoencoder. callback(progress) may stop the run by a true answer; then the result is False."""
        return _mrp.pretrain(self._handle, as_dataset(dataset)._handle, handle_of(options, more), callback)

    def finetune(self, dataset: Dataset, options: Options = None, *, callback: Callback | None = None, **more: Any) -> bool:
        """Train as a classifier, encoder included. callback(progress) may stop the run by a true answer; then the result is False."""
        return _mrp.finetune(self._handle, as_dataset(dataset)._handle, handle_of(options, more), callback)

    # -- Experts (docs/experts.md)

    @property
    def experts_count(self) -> int:
        """Experts of a mixture; 0 without."""
        count: int = self.info["libmrp"].get("experts", {}).get("experts", 0)
        return count

    def upcycle(self, dataset: Any = None, options: Options = None, *, callback: Callback | None = None, **more: Any) -> "Model":
        """A mixture of experts that computes what this model computes, to be trained on; this one stays as it is.

            moe = model.upcycle(images, moe_experts=4)      # the images are clustered: moe_routing='cluster'
            moe.pretrain(images, epochs=8)
            dense = moe.extract(task_images)

        callback(progress) may stop it by a true answer, which raises Cancelled.
        """
        images = None if dataset is None else as_dataset(dataset)._handle
        return Model._adopt(_mrp.model_upcycle(self._handle, images, handle_of(options, more), callback))

    def experts(self, dataset: Any, options: Options = None, **more: Any) -> Experts:
        """How many of these images go to each expert, and how well each reconstructs all of them: no labels are needed."""
        settings = self.info["libmrp"].get("experts", {})
        count = settings.get("experts", 0)
        dataset, routes_images = as_dataset(dataset), settings.get("routing") == "cluster"
        counts = np.zeros(count, np.int64) if routes_images else None
        numbers = np.zeros(len(dataset), np.int32) if routes_images else None
        losses = np.zeros(count, np.float64)
        _mrp.model_experts(self._handle, dataset._handle, handle_of(options, more), counts, losses, numbers)
        return Experts(counts, losses, numbers)

    def extract(self, dataset: Any = None, options: Options = None, *, expert: int = -1, **more: Any) -> "Model":
        """One expert as an ordinary model, which timm and transformers load: that of this number, or the one with the smallest loss on
        these images."""
        images = None if dataset is None else as_dataset(dataset)._handle
        return Model._adopt(_mrp.model_extract(self._handle, expert, images, handle_of(options, more)))

    def cancel(self) -> bool:
        """Stop the call that runs on this model, from any thread. False when none was running."""
        return _mrp.cancel(self._handle)

    # -- Use

    def evaluate(
        self,
        dataset: Any,
        metric: Metric = "top1",
        options: Options = None,
        **more: Any,
    ) -> float:
        """A number: 'top1' or 'top5' accuracy, 'balanced_top1' (the mean over classes), 'many_top1', 'medium_top1' or 'few_top1' (the same
        over classes with many, medium or few training images: many_above=100, few_below=20), 'loss' (mean cross entropy), or
        'reconstruction_loss' over hidden patches. prior='uniform' takes all classes for equally likely beforehand.

        Of a model of task='segment', with the masks of the dataset: 'miou' (mean intersection over union), 'pixel_accuracy' or 'loss'.

        Of a model of task='instances', with masks of objects: 'ap50', 'ar_10', 'ar_100' (COCO's, whatever the class), 'recall' and
        'false_positives' (per image) at score_threshold=0.3.

        Classes are matched by name; images of a class that the model does not know count as wrong, with a warning.
        """
        return _mrp.evaluate(self._handle, as_dataset(dataset)._handle, handle_of(options, more), metric)

    def confusion_matrix(self, dataset: Any, options: Options = None, **more: Any) -> npt.NDArray[np.int64]:
        """Counts (classes, classes): in row t, column p how many images of class t were taken for class p."""
        if self.classes == 0:
            raise StateError("the model has no classifier: fine-tune it first")
        classes = len(self.class_names(options, **more))
        counts = np.zeros((classes, classes), np.int64)
        _mrp.confusion(self._handle, as_dataset(dataset)._handle, handle_of(options, more), counts)
        return counts

    def class_accuracies(self, dataset: Any, options: Options = None, **more: Any) -> npt.NDArray[np.float64]:
        """The share of each class's images that is recognised; NaN for a class without images."""
        counts = self.confusion_matrix(dataset, options, **more)
        with np.errstate(invalid="ignore"):
            result: npt.NDArray[np.float64] = counts.diagonal() / counts.sum(1)
        return result

    def probe(self, known: Any, held_out: Any, method: Literal["knn", "linear"] = "knn", options: Options = None, **more: Any) -> float:
        """Accuracy on `held_out` of a classifier on frozen features that learns from `known`, both labelled.

        'knn': weighted nearest neighbours (knn_k=20, knn_temperature=0.07). 'linear': a linear classifier trained with LARS on normed
        features, as MAE's linear probe (probe_epochs=90, probe_learning_rate=6.4), of augmented images where probe_views is above 0.
        """
        return _mrp.probe(self._handle, as_dataset(known)._handle, as_dataset(held_out)._handle, handle_of(options, more), method)

    def encode(self, dataset: Any, options: Options = None, **more: Any) -> FloatArray:
        """Features of images: (count, width), or with features='tokens' (count, 1 + patches, width), class token first.

        A convolutional network has no class token: its tokens are the places of a stage, row by row.
        """
        dataset, handle = as_dataset(dataset), handle_of(options, more)
        kind, layer = (value_of(key, _mrp.config_get(handle, key)) for key in ("features", "layer"))
        shapes = self.info["features"]
        tokens, width = shapes[layer - 1 if 1 <= layer <= len(shapes) else -1]
        features = np.empty((len(dataset), *([tokens] if kind == "tokens" else []), width), np.float32)
        _mrp.encode(self._handle, dataset._handle, handle, features)
        return features

    def attention(self, dataset: Any, *, layer: int = 0) -> FloatArray:
        """Attention (count, heads, 1 + patches, 1 + patches) of a block, counted from 1 (0: the last); each row adds up to 1.

        softmax(q k' / sqrt(width of a head)), Vaswani et al. 2017; row and column 0 are the class token.
        """
        dataset, shapes = as_dataset(dataset), self.info["attention"]
        heads, tokens = shapes[layer - 1 if 1 <= layer <= len(shapes) else -1] or (0, 0)
        attention = np.empty((len(dataset), heads, tokens, tokens), np.float32)
        _mrp.attention(self._handle, dataset._handle, handle_of(None, {"layer": layer}), attention)
        return attention

    def predict_proba(self, dataset: Any, options: Options = None, **more: Any) -> FloatArray:
        """Class probabilities (count, classes); NaN for images that cannot be read, with unreadable_images='skip'."""
        dataset, classes = as_dataset(dataset), self.classes
        if classes == 0:
            raise StateError("the model has no classifier: fine-tune it first")
        probabilities = np.empty((len(dataset), len(self.class_names(options, **more))), np.float32)
        _mrp.predict(self._handle, dataset._handle, handle_of(options, more), probabilities)
        return probabilities

    def segment(self, dataset: Any, options: Options = None, **more: Any) -> Maps:
        """The class of each pixel, at each image's own size: uint16 (count, height, width), or a list of arrays where sizes differ.

        65535 for images that cannot be read, with unreadable_images='skip'. map_mode='slide': windows go over an image at its own scale.
        """
        return self._maps(_mrp.segment, dataset, handle_of(options, more), (), np.uint16)

    def segment_proba(self, dataset: Any, options: Options = None, **more: Any) -> Maps:
        """The probabilities of the classes of each pixel: float32 (count, height, width, classes), or a list where sizes differ."""
        return self._maps(_mrp.segment_probabilities, dataset, handle_of(options, more), (len(self.class_names()),), np.float32)

    def _maps(self, fill: Callable[..., None], dataset: Any, options: Any, each: tuple[int, ...], kind: npt.DTypeLike) -> Maps:
        """Values of each pixel, at the images' own sizes."""
        dataset = as_dataset(dataset)
        values, sizes = _pixels_of(dataset, each, kind)
        fill(self._handle, dataset._handle, options, values)
        if len(set(sizes)) == 1:
            return values.reshape(len(dataset), *sizes[0], *each)
        return _parts(values, sizes, each)

    def instances(self, dataset: Any, options: Options = None, **more: Any) -> list[Instances]:
        """The objects of each image, whatever they are, with at least score_threshold=0.3, at most most_instances=100; by task='instances'.

        None are found in images that cannot be read, with unreadable_images='skip'.
        """
        dataset, handle = as_dataset(dataset), handle_of(options, more)
        most = int(value_of("most_instances", _mrp.config_get(handle, "most_instances")))
        ids, sizes = _pixels_of(dataset)
        counts = np.empty(len(dataset), np.int64)
        scores = np.empty((len(dataset), most), np.float32)
        boxes = np.empty((len(dataset), most, 4), np.int32)
        _mrp.instances(self._handle, dataset._handle, handle, counts, scores, boxes, ids)
        parts = zip(np.maximum(counts, 0).tolist(), scores, boxes, _parts(ids, sizes), strict=True)
        return [Instances(own[:count].copy(), box[:count].copy(), part) for count, own, box, part in parts]

    def reconstruct(self, dataset: Any, options: Options = None, *, mask: Any = None, **more: Any) -> Reconstruction:
        """Hide patches, at random or as `mask` says, and reconstruct them.

        mask: True or 1 = hidden; (patches,) or (rows, columns) for all images, or (count, patches) or (count, rows, columns);
        the same number must be hidden in every image. patch_statistics='visible' shows nothing that the hidden pixels give away.
        """
        dataset = as_dataset(dataset)
        count, (channels, height, width), (rows, columns) = len(dataset), self.image_shape, self.grid
        hidden = None if mask is None else _mask_of(mask, count, rows, columns)
        images = np.empty((count, channels, height, width), np.float32)
        reconstructions = np.empty_like(images)
        masks = np.empty((count, rows * columns), np.uint8)
        loss = _mrp.reconstruct(
            self._handle,
            dataset._handle,
            handle_of(options, more),
            hidden,
            images,
            reconstructions,
            masks,
        )
        return Reconstruction(images, reconstructions, masks.view(np.bool_), loss)

    # -- Copies through pickle hold the bytes of the model's file.

    def __copy__(self) -> "Model":
        return self.copy()

    def __deepcopy__(self, memo: Any) -> "Model":
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        import tempfile  # slow to import, and seldom needed

        with tempfile.TemporaryDirectory(prefix="mrp-") as folder:
            path = os.path.join(folder, "model.safetensors")
            self.save(path)
            with open(path, "rb") as file:
                return _from_bytes, (file.read(),)


def _from_bytes(data: bytes) -> Model:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mrp-") as folder:
        path = os.path.join(folder, "model.safetensors")
        with open(path, "wb") as file:
            file.write(data)
        return Model.load(path)


def _mask_of(mask: Any, count: int, rows: int, columns: int) -> npt.NDArray[np.uint8]:
    array = np.asarray(mask)
    if array.dtype.kind not in "biu" or (array.size and (array.min() < 0 or array.max() > 1)):
        raise ArgumentError("a mask holds True or 1 (hidden) and False or 0 (visible) only")
    if array.shape[-2:] == (rows, columns):
        array = array.reshape(*array.shape[:-2], rows * columns)
    if array.shape not in ((rows * columns,), (count, rows * columns)):
        raise ArgumentError(
            f"the mask has the shape {np.shape(mask)}, expected ({rows * columns},), ({rows}, {columns}), "
            f"({count}, {rows * columns}) or ({count}, {rows}, {columns})"
        )
    return np.ascontiguousarray(np.broadcast_to(array, (count, rows * columns)), dtype=np.uint8)


def _pixels_of(
    dataset: Dataset, each: tuple[int, ...] = (), kind: npt.DTypeLike = np.uint16
) -> tuple[npt.NDArray[Any], list[tuple[int, int]]]:
    """Memory for values of each pixel of all images, and their sizes."""
    sizes = [dataset.image_size(index) for index in range(len(dataset))]
    return np.empty(sum(height * width for height, width in sizes) * math.prod(each), kind), sizes


def _parts(pixels: npt.NDArray[Any], sizes: list[tuple[int, int]], each: tuple[int, ...] = ()) -> list[npt.NDArray[Any]]:
    """The values of each image."""
    ends = np.cumsum([height * width * math.prod(each) for height, width in sizes])
    return [part.reshape(*size, *each) for part, size in zip(np.split(pixels, ends[:-1]), sizes, strict=True)]
