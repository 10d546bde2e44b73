"""What a user sees of a run while it runs, and the history that stays."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any, Generic, Protocol, TextIO, TypeVar

from mrp._mrp import Progress


class Fraction(Protocol):
    """What a display needs of any progress."""

    @property
    def fraction(self) -> float: ...
    @property
    def seconds_left(self) -> float: ...


P = TypeVar("P", bound=Fraction)
ProgressSetting = bool | Callable[[Progress], Any] | None


def is_wanted(setting: object) -> bool:
    """None: on a terminal and in notebooks."""
    if isinstance(setting, bool):
        return setting
    notebook = "ipykernel" in sys.modules
    return setting is None and (notebook or bool(getattr(sys.stderr, "isatty", lambda: False)()))


class _Line(Generic[P]):
    """One plain line: rewritten on a terminal, printed once at the end of the run elsewhere."""

    WIDTH = 99

    def __init__(self, stream: TextIO, name: Callable[[P], str], detail: Callable[[P], str]) -> None:
        self._stream, self._name, self._detail = stream, name, detail
        self._rewrites = stream.isatty()
        self._next = 0.0
        self._last: P | None = None

    def show(self, progress: P) -> None:
        self._last = progress
        if self._rewrites and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            self._stream.write("\r" + self._text(progress).ljust(self.WIDTH))
            self._stream.flush()

    def _text(self, progress: P) -> str:
        left = progress.seconds_left
        eta = "" if math.isnan(left) else f"  {int(left) // 60}:{int(left) % 60:02d} left"
        return f"{self._name(progress)} {100 * progress.fraction:3.0f} %  {self._detail(progress)}{eta}"

    def close(self) -> None:
        if self._last:
            text = self._text(self._last)
            self._stream.write(("\r" + text.ljust(self.WIDTH) if self._rewrites else text) + "\n")
            self._stream.flush()


class _Bar(Generic[P]):
    """tqdm's bar over the share of the run that is done, in its notebook flavour where that works."""

    FORM = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"

    def __init__(self, tqdm: Any, name: Callable[[P], str], detail: Callable[[P], str]) -> None:
        self._tqdm, self._name, self._detail = tqdm, name, detail
        self._bar: Any = None

    def show(self, progress: P) -> None:
        if self._bar is None:
            self._bar = self._tqdm(total=1.0, desc=self._name(progress), bar_format=self.FORM, dynamic_ncols=True)
        self._bar.set_postfix_str(self._detail(progress), refresh=False)
        self._bar.update(progress.fraction - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _find_tqdm() -> Any:
    """tqdm's class for this place, or None when it is not installed."""
    try:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm.auto warns in notebooks without widgets, and shows text then
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm


class Display(Generic[P]):
    """The callback of a run: moves the bar, asks the caller's own callbacks. Used as a context manager around the run.

    `name` and `detail` say what the bar shows before and behind the share that is done.
    """

    def __init__(self, setting: object, callback: Callable[[P], Any] | None, name: Callable[[P], str], detail: Callable[[P], str]) -> None:
        self._callbacks: list[Callable[[P], Any]] = [call for call in (setting if callable(setting) else None, callback) if call]
        self._display: _Bar[P] | _Line[P] | None = None
        if is_wanted(setting):
            tqdm = _find_tqdm()
            self._display = _Bar(tqdm, name, detail) if tqdm else _Line(sys.stderr, name, detail)

    def __enter__(self) -> "Display[P]":
        return self

    def __exit__(self, *_: object) -> None:
        if self._display:
            self._display.close()

    def __call__(self, progress: P) -> bool:
        if self._display:
            self._display.show(progress)
        return any([bool(call(progress)) for call in self._callbacks])


class Reporter(Display[Progress]):
    """The callback of a training run: keeps one row per epoch in `history`; what was recorded stays when the run raises."""

    def __init__(self, history: list[dict[str, Any]], setting: ProgressSetting, callback: Callable[[Progress], Any] | None) -> None:
        super().__init__(setting, callback, lambda progress: progress.phase, self._detail)
        self._history = history
        self._step = 0
        self._start = len(history)

    @staticmethod
    def _detail(progress: Progress) -> str:
        steps = f"step {progress.step} of {progress.steps}"
        if math.isnan(progress.loss):  # before the first step
            return steps
        return f"{steps}, loss {progress.loss:.4f}, {progress.images_per_second:.0f} images/s"

    def __call__(self, progress: Progress) -> bool:
        if progress.step != self._step:
            self._step = progress.step
            self._record(progress)
        return super().__call__(progress)

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
        for name in ("top1", "top5", "validation_loss", "knn_top1", "probe_top1"):
            value = getattr(progress, name)
            if not math.isnan(value):  # of the last measurement on held-out images
                row[name] = value
        if len(self._history) > self._start and self._history[-1]["epoch"] == epoch:
            self._history[-1] = row
        else:
            self._history.append(row)
