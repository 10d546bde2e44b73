"""What a user sees of a run of the laboratory while it runs."""

from collections.abc import Callable
from typing import Any

from mrp._mrp import LabProgress
from mrp._progress import Display

Setting = bool | Callable[[LabProgress], Any] | None


def _text(progress: LabProgress) -> str:
    if progress.phase == "study":
        return f"{progress.step} of {progress.steps} rows"
    captured = f", {progress.captured} features captured" if progress.captured else ""
    return f"seed {(progress.seed or 0) + 1} of {progress.seeds}, {progress.phase}{captured}"


class LabReporter(Display[LabProgress]):
    """The callback of a run of the laboratory."""

    def __init__(self, setting: Setting, callback: Callable[[LabProgress], Any] | None) -> None:
        super().__init__(setting, callback, lambda progress: "lab", _text)
