"""Figures; matplotlib is imported here and nowhere else."""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from mrp._model import Reconstruction


def _picture(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(C, H, W) as something that matplotlib shows: colour for three or four channels, else the first one in gray."""
    image = np.clip(image, 0, 1)
    return np.moveaxis(image, 0, -1) if image.shape[0] in (3, 4) else image[0]


def _prepare() -> None:
    if "IPython" in sys.modules:
        import matplotlib.pyplot  # noqa: F401 -- teaches notebooks to show figures


def plot_history(history: list[dict[str, Any]]) -> Figure:
    """Loss and learning rate over epochs."""
    _prepare()
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes: Any = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for axis, key in zip(axes, ("loss", "learning_rate")):
        axis.plot(epochs, [row[key] for row in history])
        axis.set_xlabel("epoch")
        axis.set_title(key.replace("_", " "))
    return figure


def plot_attention(images: npt.NDArray[np.float32], attention: npt.NDArray[np.float32], grid: tuple[int, int]) -> Figure:
    """A row per image: the image, then where its class token looks, head by head."""
    _prepare()
    count, heads = attention.shape[:2]
    figure = Figure(figsize=(1.3 * (heads + 1), 1.4 * count), layout="constrained")
    axes: Any = figure.subplots(count, heads + 1, squeeze=False)
    for row in range(count):
        axes[row, 0].imshow(_picture(images[row]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for head in range(heads):
            axes[row, 1 + head].imshow(attention[row, head, 0, 1:].reshape(grid), interpolation="nearest")
            axes[0, 1 + head].set_title(f"head {head + 1}", fontsize=8)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure


def plot_reconstructions(result: Reconstruction, grid: tuple[int, int]) -> Figure:
    """Three rows: original, masked (hidden patches gray), reconstruction (`Reconstruction` says what is shown of hidden patches)."""
    _prepare()
    count, _, height, width = result.images.shape
    rows, columns = grid
    hidden = result.masks.reshape(count, 1, rows, columns).repeat(height // rows, axis=2).repeat(width // columns, axis=3)
    masked = np.where(hidden, np.float32(0.5), result.images)
    figure = Figure(figsize=(max(1.2 * count, 2.4), 3.9), layout="constrained")
    axes: Any = figure.subplots(3, count, squeeze=False)
    for row, (title, images) in enumerate((("original", result.images), ("masked", masked), ("reconstructed", result.reconstructions))):
        for column in range(count):
            axis = axes[row, column]
            axis.imshow(_picture(images[column]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        axes[row, 0].set_ylabel(title)
    return figure


def plot_maps(
    images: list[npt.NDArray[np.float32]],
    maps: list[npt.NDArray[np.uint16]],
    names: list[str],
    colours: npt.NDArray[np.uint8],
    truths: list[npt.NDArray[np.int32]] | None,
) -> Figure:
    """A row per image: the image, the classes of its pixels with their boundaries over it, masks where there are some; a legend below."""
    from matplotlib.patches import Patch

    _prepare()
    columns = [("image", None), ("predicted", maps)] + ([("masks", truths)] if truths is not None else [])
    figure = Figure(figsize=(2.6 * len(columns), 2.7 * len(images) + 0.5), layout="constrained")
    axes: Any = figure.subplots(len(images), len(columns), squeeze=False)
    seen: set[int] = set()
    for row, image in enumerate(images):
        for column, (title, ids) in enumerate(columns):
            axis, shown = axes[row, column], _picture(image)
            shown = np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown[..., :3]
            if ids is not None:
                shown = _with_classes(shown, ids[row], colours)
                seen |= set(np.unique(ids[row]).tolist())
            axis.imshow(shown, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(title)
    patches = [Patch(color=colours[label] / 255, label=names[label]) for label in sorted(seen) if 0 < label < len(names)]
    if patches:
        figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 6), frameon=False)
    return figure


def _with_classes(image: npt.NDArray[np.float32], ids: npt.NDArray[Any], colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Classes but 0 in colour over an image (H, W, 3), their boundaries in full colour; pixels without a class are hatched in gray."""
    known = (ids >= 0) & (ids < len(colours))
    own = colours[np.where(known, ids, 0)] / np.float32(255)
    boundary = np.zeros(ids.shape, bool)
    for axis in (0, 1):
        change = np.diff(ids.astype(np.int64), axis=axis) != 0
        before = [slice(None)] * 2
        after = [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        boundary[tuple(before)] |= change
        boundary[tuple(after)] |= change
    inside = known & (ids != 0)
    strength = np.where(inside, np.where(boundary, 1.0, 0.4), 0.0)[..., None].astype(np.float32)
    rows, columns = np.indices(ids.shape)
    hatched = (~known & ((rows + columns) % 4 == 0))[..., None]
    return np.where(hatched, np.float32(0.5), (1 - strength) * image + strength * own)
