"""Figures of the laboratory; matplotlib is imported here and nowhere else in it."""

import sys
from typing import Any

import numpy as np
from matplotlib.figure import Figure

_MRP, _SL, _GREY = "tab:blue", "tab:orange", "0.6"


def _figure(width: float, height: float) -> Figure:
    if "IPython" in sys.modules:
        import matplotlib.pyplot  # noqa: F401 -- teaches notebooks to show figures
    return Figure(figsize=(width, height), layout="constrained")


def _class_lines(axis: Any, features: int) -> None:
    for edge in range(2, features, 2):
        axis.axvline(edge - 0.5, color="white", linewidth=0.5)


def _radius(report: Any) -> float:
    """Where pretraining has captured a feature."""
    options = report.data["options"]
    return float(options.get("pretrain_radius", options["radius"]))


def _arm(seed: Any, name: str) -> dict[str, Any]:
    numbers: dict[str, Any] = next((arm["numbers"] for arm in seed["arms"] if arm["id"] == name), {})
    return numbers


def correlations(report: Any, seed: int) -> Figure:
    """Correlation of each kernel with each feature at initialisation and after pretraining, kernels ordered by their strongest feature."""
    maps = [report.correlations(seed, "initial"), report.correlations(seed, "pretrained")]
    radius = _radius(report)
    order = np.lexsort((-maps[1].max(axis=1), maps[1].argmax(axis=1), maps[1].max(axis=1) < radius))
    figure = _figure(9, 5)
    axes: Any = figure.subplots(1, 2, sharey=True)
    limit = max(float(np.abs(maps[1]).max()), radius)
    for axis, values, title in zip(axes, maps, ("at initialisation", "after pretraining, without labels")):
        image = axis.imshow(values[order], aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        if report.data["experiment"] == "multiview":
            _class_lines(axis, values.shape[1])
        axis.set_title(title)
        axis.set_xticks(range(0, values.shape[1], max(2, 2 * (values.shape[1] // 20))))
        axis.set_xlabel(
            "feature (two views per class)" if report.data["experiment"] == "multiview" else "feature (two common, then fine ones)"
        )
    axes[0].set_ylabel("kernel")
    figure.colorbar(image, ax=axes, label="correlation <w, v>")
    return figure


def growth(report: Any, seed: int) -> Figure:
    """The largest correlation with each feature over time, in pretraining and in supervised learning."""
    result = report.data["seeds"][seed]
    radius = _radius(report)
    parts = [("pretraining, without labels", result["pretraining"], _MRP)]
    if result["supervised"]:
        parts.append(("supervised learning from scratch", result["supervised"], _SL))
    figure = _figure(4.5 * len(parts), 3.6)
    axes: Any = figure.subplots(1, len(parts), squeeze=False)[0]
    for axis, (title, part, colour) in zip(axes, parts):
        steps = [point["step"] for point in part["series"]]
        values = np.array([[np.nan if v is None else v for v in point["features"]["lambda"]] for point in part["series"]])
        axis.plot(steps, values, color=colour, alpha=0.6, linewidth=1)
        axis.axhline(radius, color="black", linestyle=":", linewidth=1)
        axis.text(0.02, radius, "captured", va="bottom", fontsize="small", transform=axis.get_yaxis_transform())
        axis.set_ylim(bottom=0)
        axis.set_title(title)
        axis.set_xlabel("step")
    axes[0].set_ylabel("largest correlation with a feature")
    return figure


def captured(report: Any) -> Figure:
    """Features captured by pretraining and by supervised learning, of 2 k, seed by seed."""
    seeds = report.data["seeds"]
    names = [str(result["seed"]) for result in seeds]
    features = 2 * int(report.data["options"]["classes"])
    bars = [
        ("random", _GREY, [result["pretraining"]["initial"]["captured"] for result in seeds]),
        ("pretrained", _MRP, [result["pretraining"]["final"]["captured"] for result in seeds]),
    ]
    if seeds[0]["supervised"]:
        bars.append(("supervised", _SL, [result["supervised"]["features"]["captured"] for result in seeds]))
    figure = _figure(max(5.0, 1.1 * len(names) + 2), 3.4)
    axis: Any = figure.subplots()
    width = 0.8 / len(bars)
    for index, (name, colour, values) in enumerate(bars):
        places = np.arange(len(names)) + (index - (len(bars) - 1) / 2) * width
        axis.bar_label(axis.bar(places, values, width, label=name, color=colour), fontsize="small")
    axis.axhline(features, color="black", linestyle=":", linewidth=1)
    axis.set_xticks(range(len(names)), names)
    axis.set_ylim(0, 1.25 * features)
    axis.set_xlabel("seed")
    axis.set_ylabel(f"features captured, of {features}")
    axis.legend(loc="upper center", ncols=3, frameon=False)
    return figure


def accuracy(report: Any) -> Figure:
    """Test accuracy on multi-view and single-view samples, the latter split into captured and missed views; means over seeds."""
    groups = ["multi-view", "single-view", "single-view:\nview captured", "single-view:\nview missed"]
    keys = ["multi_view", "single_view", "captured_view", "missed_view"]
    parts = [("pretrained and fine-tuned", "finetuning", _MRP), ("supervised from scratch", "supervised", _SL)]
    parts = [part for part in parts if report.data["seeds"][0][part[1]]]
    figure = _figure(7, 3.6)
    axis: Any = figure.subplots()
    width = 0.8 / max(len(parts), 1)
    for index, (name, key, colour) in enumerate(parts):
        tests = [result[key]["test"] for result in report.data["seeds"]]
        values = np.array([[np.nan if test[k] is None else test[k] for k in keys] for test in tests], float)
        known = ~np.isnan(values).all(axis=0)
        means = np.array([np.nanmean(values[:, i]) if known[i] else 0 for i in range(len(keys))])
        places = np.arange(len(keys)) + (index - (len(parts) - 1) / 2) * width
        drawn = axis.bar(places, means, width, label=name, color=colour)
        axis.bar_label(drawn, [f"{mean:.2f}" if has else "none" for mean, has in zip(means, known)], fontsize="small")
        for column in np.flatnonzero(known):
            axis.plot(np.full(len(values), places[column]), values[:, column], ".", color="black", markersize=3)
    axis.set_xticks(range(len(groups)), groups)
    axis.set_ylim(0, 1.3)
    axis.set_ylabel("test accuracy")
    if parts:
        axis.legend(loc="upper center", ncols=2, frameon=False)
    return figure


def arms(report: Any) -> Figure:
    """Accuracy on easy and hard samples by the labels that were trained with, and the fine features captured; means, a dot per seed."""
    seeds = report.data["seeds"]
    names = [arm["id"] for arm in seeds[0]["arms"]]
    figure = _figure(9, 3.6)
    axes: Any = figure.subplots(1, 2)
    for index, (key, colour) in enumerate((("easy", _GREY), ("hard", _SL))):
        values = np.array([[_arm(seed, name)[key] for name in names] for seed in seeds], float)
        places = np.arange(len(names)) + (index - 0.5) * 0.4
        axes[0].bar(places, values.mean(axis=0), 0.4, label=key, color=colour)
        axes[0].plot(np.tile(places, len(seeds)), values.ravel(), ".", color="black", markersize=3)
    axes[0].set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    axes[0].set_ylabel("test accuracy")
    axes[0].set_ylim(0, 1.2)
    axes[0].legend(loc="upper center", ncols=2, frameon=False)
    captured = [[_arm(seed, name)["captured"] for seed in seeds] for name in names]
    radius = _radius(report)
    captured.append([sum(value >= radius for value in seed["pretraining"]["final"]["lambda"][2:]) for seed in seeds])
    axes[1].bar(range(len(captured)), [np.mean(values) for values in captured], color=[_SL] * len(names) + [_MRP])
    axes[1].axhline(2 * report.data["options"]["subclasses"], color="black", linestyle=":", linewidth=1)
    axes[1].set_xticks(range(len(captured)), [name.replace("_", "\n") for name in [*names, "MRP_without_labels"]])
    axes[1].set_ylabel("fine features captured")
    return figure


def samples(report: Any) -> Figure:
    """Accuracy over the number of training samples: means over seeds, with the lowest and highest."""
    seeds = report.data["seeds"]
    sizes = [int(size) for size in report.data["options"]["samples"]]
    figure = _figure(5.5, 4)
    axis: Any = figure.subplots()
    for name in (arm["id"] for arm in seeds[0]["arms"]):
        if any(f"accuracy_{size}" not in _arm(seeds[0], name) for size in sizes):
            continue
        values = np.array([[_arm(seed, name)[f"accuracy_{size}"] for size in sizes] for seed in seeds], float)
        (line,) = axis.plot(sizes, values.mean(axis=0), "-o", label=name.replace("_", " "))
        axis.fill_between(sizes, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15, linewidth=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, sizes)
    axis.set_xlabel("training samples")
    axis.set_ylabel("test accuracy")
    axis.legend(frameon=False)
    return figure


def study(table: Any, value: str) -> Figure:
    """A measured column over one swept option (lines, a dot per seed) or two (a map of means)."""
    figure = _figure(5.5, 4)
    axis: Any = figure.subplots()
    names = table.axes
    ticks = [list(dict.fromkeys(row[name] for row in table)) for name in names]

    def mean(rows: list[dict[str, Any]]) -> float:
        numbers = [float(row[value]) for row in rows if row[value] is not None]
        return float(np.mean(numbers)) if numbers else float("nan")

    if len(names) == 1:
        means = [mean([row for row in table if row[names[0]] == tick]) for tick in ticks[0]]
        places = {tick: index for index, tick in enumerate(ticks[0])}
        numeric = all(isinstance(tick, int | float) for tick in ticks[0])
        x = [tick if numeric else places[tick] for tick in ticks[0]]
        axis.plot(x, means, "-o", color=_MRP)
        points = [(tick if numeric else places[tick], row[value]) for row in table if row[value] is not None for tick in [row[names[0]]]]
        axis.plot([p[0] for p in points], [p[1] for p in points], ".", color="black", markersize=3)
        if not numeric:
            axis.set_xticks(x, ticks[0])
        axis.set_xlabel(names[0])
        axis.set_ylabel(value)
        return figure
    grid = np.array([[mean([row for row in table if row[names[0]] == a and row[names[1]] == b]) for b in ticks[1]] for a in ticks[0]])
    image = axis.imshow(grid, origin="lower", aspect="auto", cmap="viridis")
    axis.set_yticks(range(len(ticks[0])), ticks[0])
    axis.set_xticks(range(len(ticks[1])), ticks[1], rotation=45)
    axis.set_ylabel(names[0])
    axis.set_xlabel(names[1])
    figure.colorbar(image, ax=axis, label=value)
    if set(names) == {"tau", "theta"}:
        _window(axis, table, ticks)
    return figure


def _window(axis: Any, table: Any, ticks: list[list[Any]]) -> None:
    """Marks the cells where (tau^q - 1) C_p > kappa > (tau - 1) n_active."""
    for row in table:
        swept = {name: row[name] for name in table.axes}
        if row["growth"] > row["kappa"] > (swept["tau"] - 1) * table.active:
            place = [ticks[index].index(row[name]) for index, name in enumerate(table.axes)]
            axis.plot(place[1], place[0], "o", color="white", markersize=4, markeredgecolor="black", markeredgewidth=0.5)
