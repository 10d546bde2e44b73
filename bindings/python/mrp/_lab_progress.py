"""What a user sees of a run of the laboratory while it runs."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from mrp._mrp import LabProgress
from mrp._progress import find_tqdm, is_wanted

Setting = bool | Callable[[LabProgress], Any] | None


def _text(progress: LabProgress) -> str:
    if progress.phase == "study":
        return f"{progress.step} of {progress.steps} rows"
    captured = f", {progress.captured} features captured" if progress.captured else ""
    return f"seed {(progress.seed or 0) + 1} of {progress.seeds}, {progress.phase}{captured}"


class _Line:
    """One plain line: rewritten on a terminal, printed once at the end elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rewrites = stream.isatty()
        self._next = 0.0
        self._last = ""

    def show(self, progress: LabProgress) -> None:
        left = progress.seconds_left
        eta = "" if math.isnan(left) else f"  {int(left) // 60}:{int(left) % 60:02d} left"
        self._last = f"lab {100 * progress.fraction:3.0f} %  {_text(progress)}{eta}"
        if self._rewrites and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            self._stream.write("\r" + self._last.ljust(99))
            self._stream.flush()

    def close(self) -> None:
        if self._last:
            self._stream.write(("\r" if self._rewrites else "") + self._last.ljust(99 if self._rewrites else 0) + "\n")
            self._stream.flush()


class _Bar:
    """tqdm's bar over the share of the run that is done."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def show(self, progress: LabProgress) -> None:
        if self._bar is None:
            form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
            self._bar = self._tqdm(total=1.0, desc="lab", bar_format=form, dynamic_ncols=True)
        self._bar.set_postfix_str(_text(progress), refresh=False)
        self._bar.update(progress.fraction - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class LabReporter:
    """The callback of a run: moves the bar, asks the caller's own callbacks. Used as a context manager around the run."""

    def __init__(self, setting: Setting, callback: Callable[[LabProgress], Any] | None) -> None:
        self._callbacks = [call for call in (setting if callable(setting) else None, callback) if call]
        tqdm = find_tqdm() if is_wanted(setting) else None
        self._display = None if not is_wanted(setting) else _Bar(tqdm) if tqdm else _Line(sys.stderr)

    def __enter__(self) -> "LabReporter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._display:
            self._display.close()

    def __call__(self, progress: LabProgress) -> bool:
        if self._display:
            self._display.show(progress)
        return any([bool(call(progress)) for call in self._callbacks])
