"""Images with or without labels: arrays, folders, and images that the library generates."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mrp import _mrp
from mrp._arrays import Layout, array_of, pixels_of
from mrp._config import Config, handle_of
from mrp._labels import label_array, labels_of, names_of, type_of
from mrp._mrp import ArgumentError


def _labels_of(labels: Any) -> np.ndarray:
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

    Attributes
    ----------
    shape : (count, channels, height, width); height and width are 0 where images differ in size
    classes : number of classes, 0 without labels
    class_names : list of the classes' names, or None where classes are numbers
    labels : int32 array, or None
    """

    def __init__(self, images: Any, labels: Any = None, *, layout: Layout | None = None, image_shape: Sequence[int] | None = None) -> None:
        pixels, found = pixels_of(images, layout, image_shape)
        numbers = None if labels is None else _labels_of(labels)
        self._open(_mrp.dataset_wrap_array(pixels, _mrp.NCHW if found == "NCHW" else _mrp.NHWC, numbers))

    def _open(self, handle: Any, *, named: bool = False, type: str = "str") -> None:
        self._handle = handle
        self._named = named
        self._label_type = type
        count, channels, height, width, classes = _mrp.dataset_shape(handle)
        self.shape: tuple[int, int, int, int] = (count, channels, height, width)
        self.classes: int = classes

    @classmethod
    def _adopt(cls, handle: Any, *, named: bool = False, type: str = "str") -> "Dataset":
        dataset = Dataset.__new__(Dataset)
        dataset._open(handle, named=named, type=type)
        return dataset

    @classmethod
    def generate(cls, count: int, *, random_state: int = 0, **options: Any) -> "Dataset":
        """Generated colour images in which each class has two independent discriminative parts.

        Sets with the same random_state share their classes; `synthetic_first_image` makes a second set that does not overlap with the
        first. Other options: image_size, channels, synthetic_classes, synthetic_single_view.
        """
        return cls._adopt(_mrp.dataset_generate(handle_of(options), count, random_state), named=True)

    @property
    def labels(self) -> npt.NDArray[np.int32] | None:
        if self.classes == 0:
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
        return Dataset._adopt(_mrp.dataset_name_classes(self._handle, "\n".join(names_of(classes)), kind), named=True, type=kind)

    def image_name(self, index: int) -> str:
        """What an image is called: the path of its file, or its number."""
        return _mrp.dataset_image_name(self._handle, range(len(self))[index])

    def images(self, start: int = 0, stop: int | None = None, *, size: int | tuple[int, int] | None = None) -> npt.NDArray[np.float32]:
        """Images start ... stop - 1 as float32 (count, channels, height, width), integers as fractions of their range.

        size: height and width, where they are to be resized; needed where images differ in size.
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
        return Dataset._adopt(_mrp.dataset_subset(self._handle, count, random_state), named=self._named, type=self._label_type)

    def cluster(self, model: Any, per_class: int, options: Config | Mapping[str, Any] | None = None, **more: Any) -> "Dataset":
        """The same images with finer classes: each class is cut into `per_class` clusters of about the same size, balanced k-means on the
        features of `model` (a fitted estimator or a Model), called 'cat/0', 'cat/1' and so on.

        Without labels all images are one class, and the clusters are called '0', '1' and so on. Options: features, layer, seed.
        """
        handle = getattr(model, "model_", model)._handle
        return Dataset._adopt(_mrp.dataset_cluster(self._handle, handle, per_class, handle_of(options, more)), named=True)

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
