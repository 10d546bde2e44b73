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


def plot_reconstructions(result: Reconstruction, grid: tuple[int, int]) -> Figure:
    """Three rows: original, masked (hidden patches gray), reconstruction."""
    if "IPython" in sys.modules:
        import matplotlib.pyplot  # noqa: F401 -- teaches notebooks to show figures
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
