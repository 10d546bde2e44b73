"""Images with or without labels: arrays, folders, and images that the library generates."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mrp import _mrp
from mrp._arrays import Layout, array_of, pixels_of
from mrp._config import Config, handle_of
from mrp._labels import label_array, labels_of, names_of, places_in, type_of
from mrp._mrp import ArgumentError


def label_numbers(labels: Any) -> np.ndarray:
    """Labels as a contiguous int32 array."""
    array = array_of(labels)
    if array.ndim != 1:
        raise ArgumentError(f"labels have the shape {array.shape}, expected one per image")
    if array.dtype.kind not in "iu":
        raise ArgumentError(f"labels have the type {array.dtype}, expected integers 0, 1, ...")
    limit = np.iinfo(np.int32).max
    if array.size and (int(array.min()) < 0 or int(array.max()) > limit):
        index = int(np.argmax((array < 0) | (array > limit)))
        raise ArgumentError(f"label {int(array[index])} of image {index} is outside 0 ... {limit}")
    return np.require(array, np.int32, requirements=("C_CONTIGUOUS", "ALIGNED"))


class Dataset:
    """Images in memory, with labels or without.

        Dataset(images)                                     # uint8, uint16 or float32
        Dataset(images, labels, layout="NHWC")
        Dataset.generate(1000)                              # the built-in two-part images

    images: (count, channels, height, width) or (count, height, width, channels); `layout` names which where the shape leaves a
    doubt; (count, height, width) is gray. (count, values) is flat: `image_shape` then says (height, width) or the three sizes of an
    image. A list of Pillow images of one size, and tensors on the CPU (through DLPack), are arrays too. The array is used where it
    lies when it is C-contiguous uint8, uint16 or float32 in native byte order, and must not change then; otherwise one copy is made.
    labels: integers 0, 1, ..., one per image.
    masks: ids of classes (count, height, width), one per pixel, for dense prediction, in place of labels (see `with_masks`).

    Attributes
    ----------
    shape : (count, channels, height, width); height and width are 0 where images differ in size
    classes : number of classes, of the images or, with masks, of their pixels; 0 without
    class_names : list of the classes' names, or None where classes are numbers
    labels : int32 array, or None
    has_masks : whether there is a mask for each image
    """

    def __init__(
        self,
        images: Any,
        labels: Any = None,
        *,
        masks: Any = None,
        layout: Layout | None = None,
        image_shape: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        if masks is not None:
            if labels is not None:
                raise ArgumentError("labels and masks were given: a dataset has the classes of images or of pixels")
            plain = Dataset(images, layout=layout, image_shape=image_shape)
            self._open(plain._mask_handle(masks, options), masked=True)
            return
        if options:
            raise ArgumentError(f"options {', '.join(options)} belong to masks")
        pixels, found = pixels_of(images, layout, image_shape)
        numbers = None if labels is None else label_numbers(labels)
        self._open(_mrp.dataset_wrap_array(pixels, _mrp.NCHW if found == "NCHW" else _mrp.NHWC, numbers))

    def _open(self, handle: Any, *, named: bool = False, type: str = "str", masked: bool = False) -> None:
        self._handle = handle
        self.has_masks = masked
        self._named = named
        self._label_type = type
        count, channels, height, width, classes = _mrp.dataset_shape(handle)
        self.shape: tuple[int, int, int, int] = (count, channels, height, width)
        self.classes: int = classes

    @classmethod
    def _adopt(cls, handle: Any, *, named: bool = False, type: str = "str", masked: bool = False) -> "Dataset":
        dataset = Dataset.__new__(Dataset)
        dataset._open(handle, named=named, type=type, masked=masked)
        return dataset

    @classmethod
    def generate(cls, count: int, *, random_state: int = 0, **options: Any) -> "Dataset":
        """Generated colour images in which each class has two independent discriminative parts.

        Sets with the same random_state share their classes; `synthetic_first_image` makes a second set that does not overlap with the
        first. Other options: image_size, channels, synthetic_classes, synthetic_single_view.
        """
        return cls._adopt(_mrp.dataset_generate(handle_of(options), count, random_state), named=True)

    @classmethod
    def generate_scenes(cls, count: int, *, random_state: int = 0, **options: Any) -> "Dataset":
        """Generated scenes with masks: 3 to 6 shapes of random colours on textured ground, which is class 0.

        Options: image_size, channels, synthetic_first_image, which makes a second set that does not overlap with the first;
        mask_kind='objects', for masks that tell objects apart instead of classes.
        """
        return cls._adopt(_mrp.dataset_generate_scenes(handle_of(options), count, random_state), named=True, masked=True)

    # ---- Masks

    def _mask_handle(self, masks: Any, options: Mapping[str, Any]) -> Any:
        array = array_of(masks)
        if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
            array = array.reshape(
                array.shape[0], *[side for axis, side in enumerate(array.shape[1:]) if axis != (0 if array.shape[1] == 1 else 2)]
            )
        if array.ndim != 3:
            raise ArgumentError(f"masks have the shape {array.shape}, expected (count, height, width)")
        if array.dtype.kind not in "biu":
            raise ArgumentError(f"masks have the type {array.dtype}, expected integers, the ids of classes")
        if array.dtype == np.bool_:
            array = array.astype(np.uint8)
        elif array.dtype not in (np.uint8, np.uint16, np.int32):
            if array.size and (int(array.min()) < -(2**31) or int(array.max()) >= 2**31):
                raise ArgumentError(f"masks hold the ids {array.min()} ... {array.max()}: at most 2^31 - 1")
            array = array.astype(np.int32)
        return _mrp.dataset_with_masks(self._handle, np.require(array, requirements=("C_CONTIGUOUS", "ALIGNED")), handle_of(options))

    def with_masks(self, masks: Any, **options: Any) -> "Dataset":
        """The same images with masks, ids of classes (count, height, width), in place of labels; masks are copied.

        Options: ignore_label (255), the id of pixels without a class; classes, their number (one more than the largest id); mask_kind:
        'objects' where ids tell objects apart, 0 being the ground.
        """
        return self._adopt(self._mask_handle(masks, options), masked=True)

    def mask(self, index: int) -> npt.NDArray[np.int32]:
        """The mask of an image (height, width), at its own size; `ignore_label` in all pixels where it has none."""
        position = range(len(self))[index]
        ids = np.empty(self.image_size(position), np.int32)
        _mrp.dataset_mask(self._handle, position, ids)
        return ids

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of an image."""
        _, _, height, width = self.shape
        return (height, width) if height and width else _mrp.dataset_image_size(self._handle, range(len(self))[index])

    @property
    def labels(self) -> npt.NDArray[np.int32] | None:
        if self.classes == 0 or self.has_masks:
            return None
        labels = np.empty(len(self), np.int32)
        _mrp.dataset_labels(self._handle, labels)
        return labels

    @property
    def class_names(self) -> list[str] | None:
        if not self._named:
            return None
        return [_mrp.dataset_class_name(self._handle, index) for index in range(self.classes)]

    @property
    def _classes(self) -> npt.NDArray[Any]:
        """The classes as labels: the names in their own type, or numbers."""
        names = self.class_names
        return np.arange(self.classes) if names is None else labels_of(names, self._label_type)

    def with_class_names(self, names: Any) -> "Dataset":
        """The same images and labels with names for the classes, which a classifier keeps in its file.

        names: texts, or labels of another type (numbers, flags, bytes, dates), which a classifier's `predict` then gives back.
        """
        classes = label_array(names)
        kind = type_of(classes)
        return self._adopt(
            _mrp.dataset_name_classes(self._handle, "\n".join(names_of(classes)), kind), named=True, type=kind, masked=self.has_masks
        )

    def image_name(self, index: int) -> str:
        """What an image is called: the path of its file, or its number."""
        return _mrp.dataset_image_name(self._handle, range(len(self))[index])

    def image(self, index: int) -> npt.NDArray[np.float32]:
        """An image as float32 (channels, height, width), at its own size, integers as fractions of their range."""
        position = range(len(self))[index]
        image = np.empty((self.shape[1], *self.image_size(position)), np.float32)
        _mrp.dataset_image(self._handle, position, image)
        return image

    def images(self, start: int = 0, stop: int | None = None, *, size: int | tuple[int, int] | None = None) -> npt.NDArray[np.float32]:
        """Images start ... stop - 1 as float32 (count, channels, height, width), integers as fractions of their range.

        size: height and width, where they are to be resized; needed where images differ in size. Where not all images have this size,
        all are resized until they cover it divided by 0.875 and cropped at the centre, as a network sees them by default; `image` gives
        one as it is.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        count = max(stop - start, 0)
        if size is None and 0 in self.shape[2:]:
            raise ArgumentError("the images differ in size: pass size=(height, width)")
        height, width = self.shape[2:] if size is None else (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise ArgumentError(f"size {height} x {width} is below 1 x 1")
        images = np.empty((count, self.shape[1], height, width), np.float32)
        if count:
            _mrp.dataset_images(self._handle, start, count, height, width, images)
        return images

    def subset(self, count: int, *, random_state: int = 0) -> "Dataset":
        """`count` images drawn at random, each class in proportion to its size; they are shared, not copied.

        Every class that has images keeps one at least; where `count` is too small for that, a warning names those that are left out.
        """
        return self._adopt(
            _mrp.dataset_subset(self._handle, count, random_state), named=self._named, type=self._label_type, masked=self.has_masks
        )

    def cluster(self, model: Any, per_class: int, options: Config | Mapping[str, Any] | None = None, **more: Any) -> "Dataset":
        """The same images with finer classes: each class is cut into `per_class` clusters of about the same size, balanced k-means on the
        features of `model` (a fitted estimator or a Model), called 'cat/0', 'cat/1' and so on.

        Without labels all images are one class, and the clusters are called '0', '1' and so on. Options: features, layer, seed.
        """
        handle = getattr(model, "model_", model)._handle
        return self._adopt(_mrp.dataset_cluster(self._handle, handle, per_class, handle_of(options, more)), named=True)

    def select(self, counts: Any, *, random_state: int = 0) -> "Dataset":
        """So many images of each class, drawn at random; they are shared, not copied.

            images.select(mrp.long_tail(classes=10, largest=1000, imbalance=100))

        counts: one number per class, in the order of the classes, or a dict from a class to its number, which leaves the others out. With
        smaller counts some of the images that larger ones choose are chosen.
        """
        if isinstance(counts, Mapping):
            places = places_in(self._classes, label_array(list(counts)))
            if (places < 0).any():
                raise ArgumentError(f"there is no class {list(counts)[int(places.argmin())]!r}")
            numbers = np.zeros(self.classes, np.int64)
            numbers[places] = list(counts.values())
        else:
            given = np.asarray(counts)
            if given.ndim != 1 or given.dtype.kind not in "iu":
                raise ArgumentError(f"counts {counts!r} are no whole numbers, one per class")
            numbers = np.ascontiguousarray(given, np.int64)
        return self._adopt(_mrp.dataset_select(self._handle, numbers, random_state), named=self._named, type=self._label_type)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice) -> npt.NDArray[np.float32]:
        """One image (channels, height, width), or a slice of images, as `images` gives them."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step > 0:
                return self.images(start, max(start, stop))[::step]
            wanted = range(start, stop, step)
            return self.images(wanted[-1], wanted[0] + 1)[::-1][::-step] if wanted else self.images(0, 0)
        position = range(len(self))[index]
        image: npt.NDArray[np.float32] = self.images(position, position + 1)[0]
        return image

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        count, channels, height, width = self.shape
        size = f"{channels} x {height} x {width}" if height and width else f"{channels} channels, sizes differ"
        classes = f", {self.classes} classes" if self.classes else ""
        return f"{type(self).__name__}({count} images, {size}{classes})"


def long_tail(classes: int, largest: int, imbalance: float, *, random_state: int | None = None) -> npt.NDArray[np.int64]:
    """Numbers of images for `Dataset.select` that fall exponentially from class to class (Cui et al. 2019).

    Class j of C gets int(largest / imbalance^(j / (C - 1))), so that the first has `imbalance` times as many as the last. random_state: a
    seed that draws which class is rare; None: the later a class, the rarer.
    """
    if classes < 1 or largest < 1 or not imbalance >= 1:
        raise ArgumentError(f"classes {classes} or largest {largest} is below 1, or imbalance {imbalance}")
    # As in the field's code; a power that is whole up to rounding is whole.
    shares = (1 / imbalance) ** (np.arange(classes) / max(classes - 1, 1))
    counts = np.floor(largest * shares + 1e-9).astype(np.int64)
    if counts[-1] < 1:
        raise ArgumentError(f"imbalance {imbalance} leaves no image for the rarest class of {largest} images in the largest")
    if random_state is not None:
        counts[np.random.default_rng(random_state).permutation(classes)] = counts.copy()
    return counts


class ImageFolder(Dataset):
    """A folder of JPEG and PNG images, read when they are needed.

        ImageFolder("cifar10/train")      # <class>/<image>.jpg with labels, or <image>.jpg without
        ImageFolder("animals")            # cat/persian/<image>.jpg: a tree, with the classes 'cat/persian' ...

    A warning counts image files that are not used: those of other formats, in folders further down, or beside class folders.
    Options: channels, cache_bytes, folder_layout, exif_orientation (see `mrp.options()`).
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        self.path = os.fspath(path)
        self._open(_mrp.dataset_open_folder(self.path, handle_of(options)), named=True)

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"({self.path!r}, ", 1)


class MaskFolder(Dataset):
    """A folder of images with masks in the layout of VOC and CVAT, read when they are needed.

        MaskFolder("voc")                     # JPEGImages/NAME.jpg, SegmentationClass/NAME.png, labelmap.txt
        MaskFolder("voc", split="train")      # the images that ImageSets/Segmentation/train.txt names

    `images` and `masks` may be the folders' names too. Masks are PNGs whose numbers are ids of classes (palettes too), or in the colours of
    labelmap.txt. An image without a mask is unlabelled. Options: split, ignore_label, classes, channels, cache_bytes, exif_orientation;
    mask_kind='objects' takes the objects in SegmentationObject (or objects) instead.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        self.path = os.fspath(path)
        named = os.path.exists(os.path.join(self.path, "labelmap.txt")) or options.get("mask_kind") == "objects"
        self._open(_mrp.dataset_open_masks(self.path, handle_of(options)), named=named, masked=True)

    @staticmethod
    def is_one(path: str | os.PathLike[str]) -> bool:
        """Whether a folder has the folders of images and masks."""
        return all(any(os.path.isdir(os.path.join(path, name)) for name in names) for names in _MASK_FOLDERS)

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"({self.path!r}, ", 1)


_MASK_FOLDERS = (("JPEGImages", "images"), ("SegmentationClass", "masks", "SegmentationObject", "objects"))


def as_dataset(
    images: Any, labels: Any = None, layout: Layout | None = None, image_shape: Sequence[int] | None = None, **options: Any
) -> Dataset:
    """A dataset as it is, or one made of arrays, or the folder at a path; `options` are those of an ImageFolder."""
    if isinstance(images, str | os.PathLike):
        images = ImageFolder(images, **options)
    if isinstance(images, Dataset):
        if labels is not None:
            raise ArgumentError("labels were given, but a dataset brings its own")
        return images
    return Dataset(images, labels, layout=layout, image_shape=image_shape)
