"""Objects that the cycle collector, other threads and signals meet at any moment."""

import gc
import signal
import threading
import time

import mrp
import numpy as np
import pytest
from conftest import NETWORK
from mrp import _mrp


class Run:
    """A reference cycle: a trainer whose masking is a method of what holds the trainer."""

    def __init__(self, dataset):
        options = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, "threads": 1, "batch_size": 8, "epochs": 1000}
        model = mrp.Model(image_size=32, width=16, depth=1, heads=2, patch_size=8)
        self.trainer = mrp.Trainer(model, dataset, masking=self.mask, loader_threads=4, **options)

    def mask(self, numbers):
        return np.random.default_rng(0).random((len(numbers), 16), dtype=np.float32)


def test_a_collected_cycle_leaves_the_array_to_the_loader():
    for _ in range(3):
        pixels = np.random.default_rng(0).integers(0, 255, (16, 3, 512, 512), dtype=np.uint8)
        run = Run(mrp.Dataset(pixels, layout="NCHW"))
        del pixels
        run.trainer.step()
        run = None
        gc.collect()  # while the loader's threads read the array


def test_every_handle_survives_its_clear():
    """What tp_clear leaves: an object that works, or says that it does not."""
    images = np.zeros((16, 3, 8, 8), np.uint8)
    model, dataset = mrp.Model(image_size=8, **NETWORK), mrp.Dataset(images)
    trainer = mrp.Trainer(model, dataset, epochs=1, batch_size=8, threads=1)
    assert {type(handle._handle).__name__ for handle in (model, dataset, trainer)} == {"Model", "Dataset", "Trainer"}
    assert set(gc.get_referents(trainer._handle)) >= {model._handle}
    assert trainer.step()


def test_progress_of_a_step_in_another_thread(images):
    trainer = mrp.Trainer(mrp.Model(image_size=8, **NETWORK), images, epochs=1_000, batch_size=8, threads=1)
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            seen.append(trainer.progress.step)

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    for _ in range(60):
        trainer.step()
    stop.set()
    for watcher in watchers:
        watcher.join()
    assert len(seen) > 0
    assert trainer.progress.step == 60


def test_one_trainer_per_model(images, model):
    first = mrp.Trainer(model, images, epochs=1, batch_size=8, threads=1)
    with pytest.raises(mrp.BusyError, match="has a trainer, which is at step 0 of 5"):
        mrp.Trainer(model, images, epochs=1, batch_size=8, threads=1)
    with pytest.raises(mrp.BusyError, match="has a trainer"):
        model.pretrain(images, epochs=1, batch_size=8, threads=1)
    assert len(list(first)) == 5
    second = mrp.Trainer(model, images, epochs=1, batch_size=8, threads=1)
    with pytest.raises(mrp.StateError, match="another run"):
        first.step()
    del second
    model.pretrain(images, epochs=1, batch_size=8, threads=1)


def test_masks_are_numbers_of_the_right_kind(images, model):
    trainer = mrp.Trainer(model, images, epochs=1, batch_size=8, threads=1)
    _mrp.trainer_set_filler(trainer._handle, "masking", lambda numbers: np.zeros(8 * 4, np.int32))
    with pytest.raises(TypeError, match="format 'i', expected float32"):
        trainer.step()


def calls():
    """Calls that take long, and that no model could cancel."""
    images = mrp.Dataset(np.zeros((400, 3, 64, 64), np.uint8))
    config = mrp.Config(image_size=32, encoder="vit_huge", patch_size=4)
    yield "generate", lambda: mrp.Dataset.generate(500_000, image_size=32)
    yield "create", lambda: mrp.Model(config)
    yield "images", lambda: images.images(size=512)


def test_control_c_stops_every_long_call():
    for name, call in calls():
        started = []

        def interrupt(started=started):
            time.sleep(0.05)
            started.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            call()
        thread.join()
        assert time.monotonic() - started[0] < 3, name  # far below what each takes; loaded machines are slow
