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
