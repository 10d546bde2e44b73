"""The laboratory: why mask-reconstruction pretraining helps (arXiv 2206.03826), as an experiment; and two more of its kind.

    import mrp

    report = mrp.lab.run(seeds=5)                     # the paper's two-layer network, claim by claim
    print(report)                                     # claim | quantity | threshold | measured | verdict
    report.plot()                                     # its figures
    report.holds, report.claims, report.data          # verdict, rows of the table, everything that was measured

    mrp.lab.study({"tau": [1.05, 1.15], "theta": [0.4, 0.5, 0.6]}, seeds=2, path="window.csv").plot()
    samples = mrp.lab.generate(100)                   # the data, with where each patch came from

    mrp.lab.run("hierarchical")                       # fine against coarse labels (arXiv 2410.23129)
    mrp.lab.run("patch_routing")                      # routed experts on few samples (arXiv 2306.04073)

Every quantity of the paper's definition is an option, by its name or by the paper's symbol: `noise=0.1` is `sigma_p=0.1`;
`mrp.lab.options()` lists them. Same options, same bits, whatever the number of threads.
"""

import csv
import html
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple, SupportsIndex

import numpy as np
import numpy.typing as npt

from mrp import _mrp
from mrp._config import Preset, text_of
from mrp._lab_progress import LabReporter, Setting
from mrp._mrp import ArgumentError, LabProgress

__all__ = ["Claim", "Figures", "LabProgress", "Option", "Report", "Samples", "StudyTable", "generate", "options", "presets", "run", "study"]

Callback = Callable[[LabProgress], Any]


class Option(NamedTuple):
    """One option of the laboratory, as the library's table has it."""

    key: str
    symbol: str
    """The paper's symbol, which may be used in place of the key; '' when it has none."""
    type: str
    default: str
    limits: str
    section: str
    summary: str


@cache
def _table() -> tuple[dict[str, Option], dict[str, Preset]]:
    table = json.loads(_mrp.lab_describe())
    return (
        {entry["key"]: Option(**entry) for entry in table["options"]},
        {entry["name"]: Preset(entry["name"], entry["summary"], entry["values"]) for entry in table["presets"]},
    )


def options(preset: str | None = None) -> dict[str, Option]:
    """Every option of the laboratory by its key; with a preset those that it reads, with its values as their defaults."""
    table = _table()[0]
    if preset is None:
        return dict(table)
    lab = _mrp.lab_create(preset)
    found = {}
    for key, option in table.items():
        try:
            found[key] = option._replace(default=_mrp.lab_get(lab, key))
        except ArgumentError:
            continue  # another preset's
    return found


def presets() -> dict[str, Preset]:
    """Every preset of the laboratory by its name."""
    return dict(_table()[1])


def _lab(preset: str | None, values: Mapping[str, Any]) -> Any:
    lab = _mrp.lab_create(preset)
    for key, value in values.items():
        _mrp.lab_set(lab, key, text_of(key, value))
    return lab


# ---- Running


def run(preset: str | None = None, *, progress: Setting = None, callback: Callback | None = None, **options: Any) -> "Report":
    """Run an experiment: for each seed all its arms and controls (of the first: pretraining, fine-tuning, supervised learning from
    scratch); then judge the claims.

    preset: 'multiview' (the defaults), 'quick', 'hierarchical' or 'patch_routing'; see `presets()`.
    progress: True, False, or None for a bar on terminals and in notebooks. callback(progress) is called several times per second; a true
    answer stops the run, which raises Cancelled.
    options: any of `options(preset)`, by key or by the paper's symbol, such as seeds=5, tau=1.2, controls=False.
    """
    lab = _lab(preset, options)
    with LabReporter(progress, callback) as reporter:
        return Report(_mrp.lab_run(lab, reporter))


class Claim(NamedTuple):
    """One row of the table: a measured quantity of a claim of the paper, or of a control, against its threshold."""

    name: str
    statement: str
    quantity: str
    threshold: str
    low: float
    high: float
    measured: float
    """Mean over seeds; NaN when there was nothing to measure, which never holds."""
    holds: bool
    """Over all seeds: on every one; or as far as they tell, where the threshold is of the mean or of a share of seeds."""
    is_control: bool
    by_seed: tuple[float, ...]
    """The value of each seed."""
    holds_by_seed: tuple[bool, ...]


class Figures(dict[str, Any]):
    """Figures by name; a notebook shows all of them."""

    def save(self, folder: str | os.PathLike[str], *, dpi: int = 120) -> list[str]:
        """Write `<folder>/<name>.png`; returns the paths."""
        os.makedirs(folder, exist_ok=True)
        paths = [os.path.join(folder, f"{name}.png") for name in self]
        for path, figure in zip(paths, self.values()):
            figure.savefig(path, dpi=dpi)
        return paths

    def _repr_html_(self) -> str:
        import base64
        import io

        parts = []
        for name, figure in self.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=80)
            parts.append(f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"><br>')
        return "\n".join(parts)


FIGURES = ("correlations", "growth", "captured", "accuracy")
"""Figures of the first experiment."""
_FIGURES = {"multiview": FIGURES, "hierarchical": ("arms", "correlations", "growth"), "patch_routing": ("samples",)}


class Report:
    """What the laboratory found. `print(report)` is the table; it shows the mechanism at finite size and proves nothing."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def holds(self) -> bool:
        """Whether every claim holds."""
        return _mrp.lab_report_summary(self._handle)[2]

    @property
    def controls_hold(self) -> bool:
        """Whether every control behaves as expected."""
        return _mrp.lab_report_summary(self._handle)[3]

    @cached_property
    def claims(self) -> list[Claim]:
        """The rows of the table: the claims, then the controls."""
        rows, seeds, _, _ = _mrp.lab_report_summary(self._handle)
        result = []
        for row in range(rows):
            name, statement, quantity, threshold = (
                _mrp.lab_report_row_text(self._handle, row, what) for what in ("claim", "statement", "quantity", "threshold")
            )
            measured, low, high, holds, is_control = _mrp.lab_report_row(self._handle, row, -1)
            each = [_mrp.lab_report_row(self._handle, row, seed) for seed in range(seeds)]
            by_seed, holds_by_seed = tuple(one[0] for one in each), tuple(one[3] for one in each)
            result.append(Claim(name, statement, quantity, threshold, low, high, measured, holds, is_control, by_seed, holds_by_seed))
        return result

    def table(self, seed: int | None = None) -> str:
        """The table over all seeds, or of one, which is counted from 0."""
        return _mrp.lab_report_table(self._handle, -1 if seed is None else _index(seed))

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The whole report as JSON; written to a file when a path is given."""
        text = _mrp.lab_report_json(self._handle)
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text + "\n")
        return text

    @cached_property
    def data(self) -> dict[str, Any]:
        """The whole report: claims, controls, options, and for each seed what was measured over time (None: nothing to measure)."""
        data: dict[str, Any] = json.loads(self.to_json())
        return data

    def correlations(
        self, seed: int = 0, moment: Literal["initial", "pretrained", "supervised", "fine", "coarse"] = "pretrained"
    ) -> npt.NDArray[np.float64]:
        """<w_r, v_j> of every kernel with every feature, (kernels, features); the seed is counted from 0.

        'supervised' is of the first experiment, 'fine' and 'coarse' (labels) are of 'hierarchical'; 'patch_routing' has none."""
        values = np.empty(_mrp.lab_report_correlations(self._handle, _index(seed), moment, None), np.float64)
        _mrp.lab_report_correlations(self._handle, _index(seed), moment, values)
        return values

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that `plot` draws of this experiment."""
        return _FIGURES[self.data["experiment"]]

    def plot(self, which: str | Iterable[str] | None = None, *, seed: int = 0) -> Any:
        """Figures by name, all of the experiment or those that are named; one name gives one matplotlib figure.

        correlations : correlation of each kernel with each feature before and after pretraining (of one seed)
        growth : the largest correlation with each feature over time (of one seed)
        captured : features captured by pretraining and by supervised learning, seed by seed
        accuracy : test accuracy by kind of view, and by captured or missed view
        arms : accuracy on easy and hard samples, and fine features captured, by the labels that were trained with ('hierarchical')
        samples : accuracy over the number of training samples, routed and plain ('patch_routing')
        """
        names = self.figures if which is None else (which,) if isinstance(which, str) else tuple(which)
        for name in names:
            if name not in self.figures:
                raise ArgumentError(f"figure {name!r} is not one of: {', '.join(self.figures)}")
        if not 0 <= _index(seed) < len(self.data["seeds"]):
            raise ArgumentError(f"seed {seed} is outside 0 ... {len(self.data['seeds']) - 1}")
        from mrp import _lab_plots

        figures = Figures()
        for name in names:
            draw = getattr(_lab_plots, name)
            figures[name] = draw(self, seed) if name in ("correlations", "growth") else draw(self)
        return figures[which] if isinstance(which, str) else figures

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        failing = sorted({claim.name for claim in self.claims if not claim.holds and not claim.is_control})
        seeds = len(self.claims[0].by_seed) if self.claims else 0
        return f"Report({seeds} seed{'s' * (seeds != 1)}, {'every claim holds' if self.holds else 'fails: ' + ', '.join(failing)})"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("claim", "quantity", "threshold", "measured", "verdict"))
        rows = []
        for claim in self.claims:
            cells = (
                ("control " if claim.is_control else "") + claim.name,
                claim.quantity,
                claim.threshold,
                f"{claim.measured:.4g}",
                f"{'holds' if claim.holds else 'fails'} {sum(claim.holds_by_seed)}/{len(claim.by_seed)}",
            )
            rows.append(
                f'<tr title="{html.escape(claim.statement)}">' + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
            )
        return f"<table><tr>{head}</tr>{''.join(rows)}</table><p>{html.escape(self.data['note'])}</p>"


def _index(seed: int) -> int:
    if seed < 0:
        raise ArgumentError(f"seed {seed} is negative: seeds are counted from 0")
    return seed


# ---- Studies


class StudyTable(list[dict[str, Any]]):
    """Rows of a study, one dictionary per cell and seed: the swept options, the seed, and what was measured (None: nothing)."""

    axes: list[str]
    """The swept options."""
    active: float
    """n_active = 2 C_p z: what a kernel with both views of a class sees of it at most, for the predicted window of tau and theta."""

    @property
    def columns(self) -> list[str]:
        """Names of what each row holds."""
        return list(self[0]) if self else []

    def plot(self, value: str = "captured") -> Any:
        """A measured column over the swept option, or a map over two of them. Over tau and theta, dots mark the window in which
        the theory predicts a stable capture: (tau^q - 1) C_p > kappa > (tau - 1) n_active, with kappa = 1 / theta - 1."""
        measured = [name for name in self.columns if name not in (*self.axes, "outcome", "options")]
        if value not in measured:
            raise ArgumentError(f"column {value!r} is not one of: {', '.join(measured)}")
        from mrp import _lab_plots

        return _lab_plots.study(self, value)

    def __repr__(self) -> str:
        return f"StudyTable({len(self)} rows over {' and '.join(self.axes)})"


def _cell(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def study(
    axes: Mapping[str, Sequence[Any]],
    preset: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    progress: Setting = None,
    callback: Callback | None = None,
    **options: Any,
) -> StudyTable:
    """Sweep one or two options with several seeds; cells run in parallel, without controls.

        mrp.lab.study({"sigma_0": [0.03, 0.05, 0.1]}, seeds=3, path="sigma.csv").plot("sl_captured")

    path: a CSV file to which rows are appended as they are finished: called again with the same arguments, a study that was stopped goes
    on there. A callback that gives a true answer stops it; the rows that there are come back.
    """
    lab = _lab(preset, options)
    text = "; ".join(f"{name}={','.join(text_of(name, value) for value in values)}" for name, values in axes.items())
    if path is None:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="mrp-") as folder:
            return _study(lab, text, os.path.join(folder, "study.csv"), axes, progress, callback)
    return _study(lab, text, os.fspath(path), axes, progress, callback)


def _study(lab: Any, text: str, path: str, axes: Mapping[str, Any], progress: Setting, callback: Callback | None) -> StudyTable:
    with LabReporter(progress, callback) as reporter:
        _mrp.lab_study(lab, text, path, reporter)
    table = StudyTable()
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            table.append({name: value if name in ("outcome", "options") else _cell(value) for name, value in row.items()})
    table.axes = (table.columns or list(axes))[: len(axes)]
    if "growth" in table.columns:
        table.active = 2 * float(_mrp.lab_get(lab, "patches_per_feature")) * float(_mrp.lab_get(lab, "main_high"))
    return table


# ---- Data


class Samples(NamedTuple):
    """Samples of an experiment's distribution, with where each patch came from."""

    patches: npt.NDArray[np.float32]
    """(count, P, d)"""
    labels: npt.NDArray[np.int32]
    """(count,) classes, 0 ... k - 1"""
    single_view: npt.NDArray[np.bool_]
    """(count,) True for single-view samples, or hard ones"""
    shown_view: npt.NDArray[np.int32]
    """(count,) the view, 0 or 1, that a single-view sample shows (-1 for multi-view); the subclass; the patch that tells the class"""
    origins: npt.NDArray[np.int32]
    """(count, P) the feature that a patch carries, a row of `features`; -1 for none"""
    features: npt.NDArray[np.float64]
    """(features, d): 2 class + view; or the classes' common ones, then 2 + class k_s + subclass; or the two that tell, then the others"""


def generate(
    count: int,
    preset: str | None = None,
    *,
    kind: Literal["mixed", "multi_view", "single_view", "easy", "hard"] = "mixed",
    first: SupportsIndex = 0,
    seed: int = 0,
    **options: Any,
) -> Samples:
    """Draw samples first ... first + count - 1 of an endless sequence that the seed fixes.

    kind: 'mixed' (single-view with probability mu), 'multi_view' or 'single_view'; of 'hierarchical' 'easy' or 'hard'.
    options: k, d, P, C_p, s, mu, noise and the others
    of the section "data" of `options()`.
    """
    lab = _lab(preset, options)
    if count < 0:
        raise ArgumentError(f"count {count} is negative")
    patches, dimension = (int(_mrp.lab_get(lab, key)) for key in ("patches", "dimension"))
    features = np.empty((_mrp.lab_features(lab, seed, None) // dimension, dimension), np.float64)
    _mrp.lab_features(lab, seed, features)
    x = np.empty((count, patches, dimension), np.float32)
    labels, single, shown = (np.empty(count, np.int32) for _ in range(3))
    origins = np.empty((count, patches), np.int32)
    _mrp.lab_samples(lab, seed, kind, first, count, x, labels, single, shown, origins)
    return Samples(x, labels, single.astype(np.bool_), shown, origins, features)
