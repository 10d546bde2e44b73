"""What a user sees of a run while it runs, and the history that stays."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from mrp._mrp import Progress

ProgressSetting = bool | Callable[[Progress], Any] | None


def is_wanted(setting: object) -> bool:
    """None: on a terminal and in notebooks."""
    if isinstance(setting, bool):
        return setting
    notebook = "ipykernel" in sys.modules
    return setting is None and (notebook or bool(getattr(sys.stderr, "isatty", lambda: False)()))


class _Line:
    """One plain line: rewritten on a terminal, printed once at the end of the run elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rewrites = stream.isatty()
        self._next = 0.0
        self._last: Progress | None = None

    def show(self, progress: Progress) -> None:
        self._last = progress
        if self._rewrites and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            self._stream.write("\r" + _text(progress).ljust(79))
            self._stream.flush()

    def close(self) -> None:
        if self._last:
            self._stream.write(("\r" if self._rewrites else "") + _text(self._last).ljust(79 if self._rewrites else 0) + "\n")
            self._stream.flush()


def _text(progress: Progress) -> str:
    left = progress.seconds_left
    eta = "" if math.isnan(left) else f"  {int(left) // 60}:{int(left) % 60:02d} left"
    return f"{progress.phase} {100 * progress.fraction:3.0f} %  loss {progress.loss:.4f}  {progress.images_per_second:.0f} images/s{eta}"


class _Bar:
    """tqdm's bar, in its notebook flavour where that works."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def show(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = self._tqdm(total=progress.steps, desc=progress.phase, unit="step", dynamic_ncols=True)
        if progress.step > self._bar.n:
            self._bar.set_postfix_str(f"loss {progress.loss:.4f}, {progress.images_per_second:.0f} images/s", refresh=False)
            self._bar.update(progress.step - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def find_tqdm() -> Any:
    """tqdm's class for this place, or None when it is not installed."""
    try:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm.auto warns in notebooks without widgets, and shows text then
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm


def _display() -> _Bar | _Line:
    tqdm = find_tqdm()
    return _Bar(tqdm) if tqdm else _Line(sys.stderr)


class Reporter:
    """The callback of a run: keeps one row per epoch in `history`, moves the bar, asks the caller's own callbacks.

    Used as a context manager around the run; what was recorded stays when the run raises.
    """

    def __init__(self, history: list[dict[str, Any]], setting: ProgressSetting, callback: Callable[[Progress], Any] | None) -> None:
        self._history = history
        self._callbacks = [call for call in (setting if callable(setting) else None, callback) if call]
        self._display = _display() if is_wanted(setting) else None
        self._step = 0
        self._start = len(history)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._display:
            self._display.close()

    def __call__(self, progress: Progress) -> bool:
        if progress.step != self._step:
            self._step = progress.step
            self._record(progress)
        if self._display:
            self._display.show(progress)
        return any([bool(call(progress)) for call in self._callbacks])

    def _record(self, progress: Progress) -> None:
        epoch = max(math.ceil(progress.epoch - 1e-9), 1)
        row = {
            "phase": progress.phase,
            "epoch": epoch,
            "step": progress.step,
            "loss": progress.mean_loss,
            "learning_rate": progress.learning_rate,
            "images_per_second": progress.images_per_second,
            "seconds": progress.seconds,
        }
        if len(self._history) > self._start and self._history[-1]["epoch"] == epoch:
            self._history[-1] = row
        else:
            self._history.append(row)
