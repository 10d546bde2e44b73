"""What notebooks show of models and estimators: plain HTML without scripts, the loss curve as inline SVG."""

import math
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrp._estimator import Estimator
    from mrp._model import Model


def _group(name: str) -> str:
    """The layer that a weight belongs to: blocks count as one layer each."""
    parts = name.split(".")
    if parts[0] in ("blocks", "decoder_blocks"):
        return ".".join(parts[:2])
    return parts[0] if len(parts) > 1 else name


def _folded(layers: list[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Equal blocks in a row become one line: (name, how many, weights of all)."""
    lines: list[tuple[str, int, int, int]] = []
    for name, size in layers:
        kind = name.split(".")[0]
        if lines and "." in name and lines[-1][0].split(".")[0] == kind and lines[-1][3] == size:
            first, count, total, _ = lines[-1]
            lines[-1] = (first, count + 1, total + size, size)
        else:
            lines.append((name, 1, size, size))
    return [(name if count == 1 else f"{name.split('.')[0]} ({count} alike)", count, total) for name, count, total, _ in lines]


def _table(header: list[str], rows: list[list[str]]) -> str:
    cell = "style='text-align:left;padding:1px 12px 1px 0'"
    lines = ["<tr>" + "".join(f"<th {cell}>{escape(text)}</th>" for text in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td {cell}>{escape(text)}</td>" for text in row) + "</tr>" for row in rows]
    return f"<table style='border-collapse:collapse'>{''.join(lines)}</table>"


def model_html(model: "Model") -> str:
    """The layers of a model with their weights and the memory that they take."""
    from mrp._mrp import BusyError

    try:
        info = model.info
    except BusyError:
        return f"<b>{escape(repr(model))}</b>"
    sizes: dict[str, int] = {}
    for weight in info["weights"]:
        sizes[_group(weight["name"])] = sizes.get(_group(weight["name"]), 0) + weight["count"]
    rows = [[name, f"{total:,}", f"{4 * total / 2**20:.2f}"] for name, _, total in _folded(list(sizes.items()))]
    rows.append(["all", f"{info['parameters']:,}", f"{4 * info['parameters'] / 2**20:.2f}"])
    return f"<b>{escape(repr(model))}</b>" + _table(["layer", "weights", "MiB"], rows)


def curve(values: list[float], width: int = 280, height: int = 80) -> str:
    """A line through the finite values as SVG, with the first and the last value beside it."""
    points = [(index, value) for index, value in enumerate(values) if math.isfinite(value)]
    if len(points) < 2:
        return ""
    low, high = min(value for _, value in points), max(value for _, value in points)
    scale = (height - 16) / (high - low or 1)
    path = " ".join(f"{4 + index * (width - 8) / (len(values) - 1):.1f},{8 + (high - value) * scale:.1f}" for index, value in points)
    return (
        f"<svg width='{width}' height='{height}' xmlns='http://www.w3.org/2000/svg' role='img' aria-label='loss'>"
        f"<polyline points='{path}' fill='none' stroke='currentColor' stroke-width='1.5'/></svg>"
        f"<div>loss {points[0][1]:.4f} &#8594; {points[-1][1]:.4f}</div>"
    )


def estimator_html(estimator: "Estimator") -> str:
    """The parameters that were given; once fitted also the model and the loss curve."""
    given = {name: value for name, value in estimator.get_params(deep=False).items() if value is not None}
    parts = [f"<b>{type(estimator).__name__}</b>", _table(["parameter", "value"], [[name, repr(value)] for name, value in given.items()])]
    fitted: dict[str, Any] = vars(estimator)
    if "model_" in fitted:
        parts.append(model_html(estimator.model_))
    if fitted.get("history_"):
        parts.append(curve([row["loss"] for row in estimator.history_]))
    return "<div>" + "".join(parts) + "</div>"
