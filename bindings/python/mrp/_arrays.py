"""Images in memory as arrays that the library reads: the order of their axes, their element types, Pillow's modes."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrp._log import logger
from mrp._mrp import ArgumentError

Layout = Literal["NCHW", "NHWC"]

_USUAL_CHANNELS = (1, 3, 4)


def array_of(values: Any) -> npt.NDArray[Any]:
    """An array of anything that holds numbers: sequences, buffers, tensors on the CPU, lists of Pillow images; copied only where needed."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "__dlpack__"):
        array: npt.NDArray[Any] = np.from_dlpack(values.detach() if hasattr(values, "detach") else values)
        return array
    if are_pictures(values):
        return _array_of_pictures(values)
    return np.asarray(values)


# ---- Pillow images


def are_pictures(values: Any) -> bool:
    """Whether these are Pillow images; Pillow need not be installed."""
    return isinstance(values, list | tuple) and bool(values) and all(hasattr(value, "convert") for value in values)


def _array_of_pictures(pictures: Sequence[Any]) -> npt.NDArray[Any]:
    """Pillow images as (count, 1, height, width) when all are gray, else as (count, 3, height, width); transparency is left out.

    As in files that the library reads: 8 bits are uint8, more are uint16, and beside such images those of 8 bits become uint16 of the same
    brightness. Mode F stays float and cannot stand beside integers. The orientation that a camera noted (EXIF) is applied.
    """
    arrays = [_array_of_picture(picture) for picture in pictures]
    sizes = {array.shape[:2] for array in arrays}
    if len(sizes) > 1:
        few = " and ".join(str((width, height)) for height, width in sorted(sizes)[:2])
        raise ArgumentError(f"the pictures have {len(sizes)} sizes, such as {few}: resize them first")
    types = {array.dtype for array in arrays}
    if np.dtype(np.float32) in types and len(types) > 1:
        modes = ", ".join(sorted({picture.mode for picture in pictures}))
        raise ArgumentError(f"the pictures have the modes {modes}: F, of floats, has units of its own and cannot stand beside integers")
    if len(types) > 1:
        arrays = [array if array.dtype == np.uint16 else array.astype(np.uint16) * np.uint16(257) for array in arrays]
    if any(array.ndim == 3 for array in arrays):
        arrays = [array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2) for array in arrays]
        return np.stack(arrays).transpose(0, 3, 1, 2)
    return np.stack(arrays)[:, None]


def _array_of_picture(picture: Any) -> npt.NDArray[Any]:
    """(height, width), or (height, width, 3): uint8, uint16 or float32."""
    if hasattr(picture, "getexif") and picture.getexif().get(0x0112, 1) != 1:
        from PIL import ImageOps

        picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F":
        return np.asarray(picture, np.float32)
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.size and (int(values.min()) < 0 or int(values.max()) > 65535):
            raise ArgumentError(
                f"a picture of mode {picture.mode} has values {int(values.min())} ... {int(values.max())}, 0 ... 65535 are read as its "
                "brightness: scale them, or make floats of them"
            )
        return values.astype(np.uint16)
    return np.asarray(picture.convert("L" if picture.mode in ("1", "L", "LA", "La") else "RGB"))


# ---- Order of the axes


def _layout_of(shape: tuple[int, ...]) -> Layout:
    """The layout of a 4-D array where its shape leaves no doubt."""
    _, first, second, last = shape
    usual = {"NCHW": first in _USUAL_CHANNELS, "NHWC": last in _USUAL_CHANNELS}
    square = {"NCHW": second == last, "NHWC": first == second}
    # The channels of one reading must be usual; where that tells nothing, or the other reading alone has square images, these count.
    for mine, other in (("NCHW", "NHWC"), ("NHWC", "NCHW")):
        by_channels = usual[mine] and not usual[other] and (square[mine] or not square[other])
        by_squares = not usual[mine] and not usual[other] and square[mine] and not square[other]
        if by_channels or by_squares:
            return "NCHW" if mine == "NCHW" else "NHWC"
    raise ArgumentError(
        f"images of shape {shape} may be NCHW ({first} channels of {second} x {last}) or NHWC ({last} channels of {first} x {second}): "
        "pass layout='NCHW' or layout='NHWC', to an estimator as mrp.Dataset(images, layout=...)"
    )


def _gray(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(count, height, width) as NCHW. Refuses what is one image with its channels."""
    count, rows, columns = array.shape
    if columns in _USUAL_CHANNELS:
        raise ArgumentError(
            f"images of shape {array.shape} may be one image of {columns} channels ({count} x {rows}) or {count} gray images "
            f"({rows} x {columns}): pass images[None] or images[:, None]"
        )
    if count in (3, 4):
        logger.warning(
            "images of shape %s are taken for %d gray images; one image of %d channels is images[None]", array.shape, count, count
        )
    return array[:, None]


def pixels_of(images: Any, layout: Layout | None, image_shape: Sequence[int] | None = None) -> tuple[np.ndarray, Layout]:
    """Images as a C-contiguous 4-D array of uint8, uint16 or float32, copied only where needed."""
    array = array_of(images)
    if are_pictures(images):
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
        array, layout = _gray(array), "NCHW"
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
