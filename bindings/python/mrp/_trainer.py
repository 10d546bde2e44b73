"""Training runs whose loop the caller owns."""

import os
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from mrp import _mrp
from mrp._config import handle_of
from mrp._dataset import as_dataset
from mrp._model import Model, Options
from mrp._mrp import Progress

_DONE, _CANCELLED = 2, 1


class Plan(NamedTuple):
    """What a run takes, known before its first step."""

    bytes: int
    """Memory of training: weights, moments, the values of a step, scratch memory; not the images."""
    steps: int


class Trainer:
    """A training run, step by step.

        trainer = mrp.Trainer(model, images, phase="pretrain", epochs=10, batch_size=256)
        print(trainer.plan)
        for progress in trainer:
            if progress.loss < 0.4:
                break
        for progress in trainer: ...        # goes on where it stopped

    With a `run_folder`, a loop that is left before the end (by break, an exception, Ctrl-C) suspends the run: a trainer with the same
    options, in any process, goes on there.

    phase: 'pretrain' (labels are not read) or 'finetune'. All memory is taken when the trainer is made. Between steps the model may
    be saved, evaluated or used.

    masking: chooses what pretraining hides. It gets the numbers of a step's images in the dataset, int64 (count,), and returns
    (count, patches): a mask of bool or integers, 1 = hidden, as many in each image as mask_ratio says; or noise of floats, of which
    the smallest stay visible. None: as option mask_pattern says.

    targets: what objective 'given' predicts, for example the features of another model. It gets the numbers of a step's images and the
    images as the network sees them, float32 (count, channels, height, width), augmented and standardised, and returns floats
    (count, patches, target_width).

        teacher = lambda numbers, images: other.encode(images, features="tokens")[:, 1:]
        mrp.Trainer(model, images, objective="given", target_width=192, targets=teacher)
    """

    def __init__(
        self,
        model: Model,
        dataset: Any,
        options: Options = None,
        *,
        phase: Literal["pretrain", "finetune"] = "pretrain",
        masking: Callable[[np.ndarray], Any] | None = None,
        targets: Callable[[np.ndarray, np.ndarray], Any] | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(model, Model):
            model = getattr(model, "model_", model)
        if not isinstance(model, Model):
            raise TypeError(f"expected a Model or a fitted estimator, got {type(model).__name__}")
        self.model = model
        self.dataset = as_dataset(dataset)
        self.phase = phase
        config = handle_of(options, more)
        self._has_folder = _mrp.config_get(config, "run_folder") != ""
        self._handle = _mrp.trainer_create(model._handle, self.dataset._handle, config, phase)
        if masking is not None:
            _mrp.trainer_set_filler(self._handle, "masking", lambda numbers: _noise(masking, np.frombuffer(numbers, np.int64)))
        if targets is not None:
            shape = model.image_shape
            _mrp.trainer_set_filler(self._handle, "targets", lambda *given: _targets(targets, shape, *given))

    @property
    def plan(self) -> Plan:
        """Bytes and steps of the run."""
        return Plan(*_mrp.trainer_plan(self._handle))

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return _mrp.trainer_progress(self._handle)

    @property
    def end(self) -> str | None:
        """Why the run has ended: 'finished', 'time_budget', 'early_stopping' or 'suspended' (its next step goes on); None: it has not."""
        return _mrp.trainer_end(self._handle) or None

    def step(self) -> bool:
        """One step. False when the run had ended before (see `end`), or `model.cancel()` stopped this one (then nothing changed)."""
        return _mrp.trainer_step(self._handle) not in (_DONE, _CANCELLED)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run's state (weights, optimiser, position) between two steps; the file is replaced as a whole."""
        _mrp.trainer_save(self._handle, path)

    def export(self, format: Literal["stablehlo"], path: str | os.PathLike[str]) -> None:
        """Write the whole training step, updates included, as StableHLO text, and a JSON file beside it (`path` + .json) that names
        arguments, results and which argument a result is the new value of."""
        if format != "stablehlo":
            raise ValueError(f"format {format!r} is not 'stablehlo'")
        _mrp.trainer_export(self._handle, path)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Continue a saved run: same network, data and options. The end is the same, bit for bit, as without the stop.

        A StateError names what differs; option resume_despite accepts differences by name."""
        _mrp.trainer_resume(self._handle, path)

    def suspend(self) -> None:
        """Write the run's state into its `run_folder`, where a trainer with the same options goes on. This one may go on too."""
        _mrp.trainer_suspend(self._handle)

    def __iter__(self) -> Iterator[Progress]:
        try:
            while self.step():
                yield self.progress
        finally:
            if self._has_folder and self.end is None and self.progress.step > 0:
                self.suspend()

    def __repr__(self) -> str:
        progress = self.progress
        return f"Trainer({self.phase}, step {progress.step} of {progress.steps})"


def _noise(masking: Callable[[np.ndarray], Any], numbers: np.ndarray) -> np.ndarray:
    noise = np.ascontiguousarray(masking(numbers), dtype=np.float32)
    if noise.ndim != 2 or len(noise) != len(numbers):
        raise ValueError(f"masking gave an array of shape {noise.shape} for {len(numbers)} images: (count, patches) is expected")
    return noise


def _targets(targets: Callable[[np.ndarray, np.ndarray], Any], shape: tuple[int, ...], numbers: bytes, images: bytes) -> np.ndarray:
    indices = np.frombuffer(numbers, np.int64)
    values = np.ascontiguousarray(targets(indices, np.frombuffer(images, np.float32).reshape(-1, *shape)), dtype=np.float32)
    if values.ndim != 3 or len(values) != len(indices):
        raise ValueError(f"targets gave an array of shape {values.shape} for {len(indices)} images: (count, patches, width) is expected")
    return values
