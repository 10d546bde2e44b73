"""Images with or without labels: arrays, folders, and images that the library generates."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrp import _mrp
from mrp._config import handle_of
from mrp._mrp import ArgumentError

Layout = Literal["NCHW", "NHWC"]

_USUAL_CHANNELS = (1, 3, 4)


def _layout_of(shape: tuple[int, ...]) -> Layout:
    """The layout of a 4-D array where its shape leaves no doubt."""
    first, last = shape[1], shape[3]
    if (first in _USUAL_CHANNELS) != (last in _USUAL_CHANNELS):
        return "NCHW" if first in _USUAL_CHANNELS else "NHWC"
    if first not in _USUAL_CHANNELS and (shape[2] == last) != (first == shape[2]):
        return "NCHW" if shape[2] == last else "NHWC"  # unusual channels, square images
    raise ArgumentError(f"images of shape {shape} may be NCHW or NHWC: pass layout='NCHW' or layout='NHWC'")


def array_of(values: Any) -> npt.NDArray[Any]:
    """An array of anything that holds numbers: sequences, buffers, tensors on the CPU, lists of Pillow images; copied only where needed."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "__dlpack__"):
        array: npt.NDArray[Any] = np.from_dlpack(values.detach() if hasattr(values, "detach") else values)
        return array
    if _are_pictures(values):
        return _array_of_pictures(values)
    return np.asarray(values)


def _are_pictures(values: Any) -> bool:
    """Whether these are Pillow images; Pillow need not be installed."""
    return isinstance(values, list | tuple) and bool(values) and all(hasattr(value, "convert") for value in values)


def _array_of_pictures(pictures: Sequence[Any]) -> npt.NDArray[Any]:
    """Pillow images as (count, 1, height, width) when all are gray, else as (count, height, width, 3); transparency is left out."""
    sizes = {picture.size for picture in pictures}
    if len(sizes) > 1:
        raise ArgumentError(f"the pictures have {len(sizes)} sizes, such as {' and '.join(map(str, sorted(sizes)[:2]))}: resize them first")
    modes = {picture.mode for picture in pictures}
    if modes <= {"I;16"}:
        return np.stack([np.asarray(picture) for picture in pictures])[:, None]
    mode = "L" if modes <= {"1", "L", "LA"} else "RGB"
    array = np.stack([np.asarray(picture.convert(mode)) for picture in pictures])
    return array[:, None] if mode == "L" else array.transpose(0, 3, 1, 2)


def _pixels_of(images: Any, layout: Layout | None, image_shape: Sequence[int] | None = None) -> tuple[np.ndarray, Layout]:
    """Images as a C-contiguous 4-D array of uint8, uint16 or float32, copied only where needed."""
    array = array_of(images)
    if _are_pictures(images):
        layout = "NCHW"
    if image_shape is not None and array.ndim == 2:
        shape = tuple(int(side) for side in image_shape)
        if len(shape) not in (2, 3) or min(shape) < 1 or int(np.prod(shape)) != array.shape[1]:
            raise ArgumentError(f"image_shape {shape} does not hold the {array.shape[1]} values of each image")
        array = array.reshape(-1, *(shape if len(shape) == 3 else (1, *shape)))
        layout = layout or ("NCHW" if len(shape) == 2 else None)
    if layout not in (None, "NCHW", "NHWC"):
        raise ArgumentError(f"layout {layout!r} is neither 'NCHW' nor 'NHWC'")
    if array.ndim == 3 and layout is None:
        if array.shape[2] in (3, 4):
            raise ArgumentError(
                f"images of shape {array.shape} may be one colour image or gray images: pass images[None] or images[:, None]"
            )
        array, layout = array[:, None], "NCHW"
    if array.ndim != 4:
        raise ArgumentError(
            f"images have the shape {array.shape}, expected (count, channels, height, width) or (count, height, width, channels)"
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    elif array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise ArgumentError(f"images have the type {array.dtype}, expected uint8 (0 ... 255), uint16 (0 ... 65535) or float (0 ... 1)")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.require(array, requirements=("C_CONTIGUOUS", "ALIGNED")), layout or _layout_of(array.shape)


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
    class_names : list of the folders' names, or None where classes are numbers
    labels : int32 array, or None
    """

    def __init__(self, images: Any, labels: Any = None, *, layout: Layout | None = None, image_shape: Sequence[int] | None = None) -> None:
        pixels, found = _pixels_of(images, layout, image_shape)
        numbers = None if labels is None else _labels_of(labels)
        self._open(_mrp.dataset_wrap_array(pixels, _mrp.NCHW if found == "NCHW" else _mrp.NHWC, numbers))

    def _open(self, handle: Any, *, named: bool = False) -> None:
        self._handle = handle
        self._named = named
        count, channels, height, width, classes = _mrp.dataset_shape(handle)
        self.shape: tuple[int, int, int, int] = (count, channels, height, width)
        self.classes: int = classes

    @classmethod
    def _adopt(cls, handle: Any, *, named: bool = False) -> "Dataset":
        dataset = Dataset.__new__(Dataset)
        dataset._open(handle, named=named)
        return dataset

    @classmethod
    def generate(cls, count: int, *, random_state: int = 0, **options: Any) -> "Dataset":
        """Generated colour images in which each class has two independent discriminative parts.

        Sets with the same random_state share their classes; `synthetic_first_image` makes a second set that does not overlap with the
        first. Other options: image_size, channels, synthetic_classes, synthetic_single_view.
        """
        return cls._adopt(_mrp.dataset_generate(handle_of(options), count, random_state))

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

    def with_class_names(self, names: Sequence[str]) -> "Dataset":
        """The same images and labels with names for the classes, which a classifier keeps in its file."""
        if bad := [name for name in names if "\n" in name]:
            raise ArgumentError(f"the class name {bad[0]!r} has a line break")
        return Dataset._adopt(_mrp.dataset_name_classes(self._handle, "\n".join(names)), named=True)

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
        """`count` images drawn at random, each class in proportion to its size; they are shared, not copied."""
        return Dataset._adopt(_mrp.dataset_subset(self._handle, count, random_state), named=self._named)

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

    Options: channels, cache_bytes (see `mrp.options()`).
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
