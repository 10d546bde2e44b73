"""Runs: the same bits, callbacks, interruption, threads, fork, memory."""

import contextlib
import gc
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import mrp
import numpy as np
import pytest
from conftest import NETWORK, RUN, TINY, check_interruption
from mrp import _mrp


def file_of(estimator, tmp_path, name="m"):
    estimator.save(tmp_path / f"{name}.safetensors")
    return (tmp_path / f"{name}.safetensors").read_bytes()


# ---- The same bits


@pytest.mark.parametrize("augmentation", ["none", "pad_crop_flip", "random_resized_crop_flip"])
def test_threads_do_not_change_a_bit(images, labels, tmp_path, augmentation):
    files = set()
    for threads, loaders in ((1, 0), (2, 1), (3, 3)):
        options = {"threads": threads, "loader_threads": loaders, "augmentation": augmentation}
        mae = mrp.MaskedAutoencoder(**TINY | options).fit(images)
        files.add((file_of(mae, tmp_path), file_of(mrp.Classifier(mae, **RUN | options).fit(images, labels), tmp_path)))
        files.add((file_of(mae, tmp_path), file_of(mrp.Classifier(mae, **RUN | options).fit(images, labels), tmp_path)))
    assert len(files) == 1


def test_processes_do_not_change_a_bit(images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    files = set()
    for name in ("a", "b"):
        script = f"""
            import mrp, numpy as np
            mrp.MaskedAutoencoder(**{TINY!r}).fit(np.load("images.npy")).save("{name}.safetensors")
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True)
        files.add((tmp_path / f"{name}.safetensors").read_bytes())
    files.add(file_of(mrp.MaskedAutoencoder(**TINY).fit(images), tmp_path))
    assert len(files) == 1


def test_a_subset_trains_like_the_same_images(images, tmp_path):
    subset = mrp.Dataset(images).subset(16, random_state=1)
    assert file_of(mrp.MaskedAutoencoder(**TINY).fit(subset), tmp_path) == file_of(
        mrp.MaskedAutoencoder(**TINY).fit((subset.images() * 255).round().astype(np.uint8)), tmp_path
    )


# ---- Callbacks


def test_callbacks_see_every_step(images):
    seen = []
    mae = mrp.MaskedAutoencoder(**TINY).fit(images, callback=seen.append)
    assert sorted({progress.step for progress in seen}) == list(range(11))
    assert {progress.steps for progress in seen} == {10}
    assert {progress.phase for progress in seen} == {"pretrain"}
    last = seen[-1]
    assert last.fraction == 1
    assert last.epoch == 2
    assert last.mean_loss == mae.history_[-1]["loss"]
    assert math.isfinite(last.loss)
    assert last.seconds_left == 0
    with pytest.raises(AttributeError):
        last.step = 3


def test_a_true_answer_stops(images):
    def stop(progress):
        return progress.step >= 3

    mae = mrp.MaskedAutoencoder(**TINY).fit(images, callback=stop)
    assert mae.history_[-1]["step"] == 3
    assert mae.transform(images).shape == (40, 16)
    assert mrp.Model(image_size=8, **NETWORK).pretrain(images, epochs=1, batch_size=8, threads=1, callback=stop) is False
    assert mrp.Model(image_size=8, **NETWORK).pretrain(images, epochs=1, batch_size=8, threads=1) is True


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, MemoryError])
def test_a_raising_callback_stops_and_is_raised(images, error):
    calls = []

    def raise_at_third(progress):
        calls.append(progress.step)
        if progress.step == 3:
            raise error("by the callback")

    mae = mrp.MaskedAutoencoder(**TINY)
    with pytest.raises(error, match="by the callback"):
        mae.fit(images, callback=raise_at_third)
    assert calls[-1] == 3
    assert mae.history_[-1]["step"] == 3
    assert mae.transform(images).shape == (40, 16)
    assert mae.fit(images).history_[-1]["step"] == 10


def test_a_callback_may_use_other_models_but_not_this_one(images, mae):
    errors = []

    def use(progress):
        if progress.step == 2:
            assert mae.transform(images).shape == (40, 16)
            try:
                model.encode(images)
            except mrp.BusyError as error:
                errors.append(error)
            assert repr(model) == "Model(busy)"

    model = mrp.Model(image_size=8, **NETWORK)
    assert model.pretrain(images, epochs=1, batch_size=8, threads=1, callback=use)
    assert errors


def test_callbacks_do_not_leak(images):
    class Token:
        pass

    token = Token()
    before = sys.getrefcount(token)
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            mrp.MaskedAutoencoder(**TINY).fit(images, callback=lambda progress, token=token: 1 / 0)
    gc.collect()
    assert sys.getrefcount(token) == before


# ---- Interruption

SETUP = """
    images = np.random.default_rng(0).integers(0, 256, (2000, 3, 16, 16), dtype=np.uint8)
    sizes = dict(width=64, depth=2, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2)
    mae = mrp.MaskedAutoencoder(**sizes, epochs=0.1, threads=1, progress=False).fit(images)
    many = np.concatenate([images] * 50)
"""


@pytest.mark.parametrize(
    "call",
    [
        "mae.set_params(epochs=1000).fit(images)",
        "mae.set_params(epochs=1000).fit(images, callback=lambda progress: None)",
        "mae.set_params(epochs=1000, batch_size=2000).fit(images)",
        "mrp.Classifier(mae, threads=1, epochs=1000).fit(images, np.arange(2000) % 10)",
        "mae.transform(many)",
        "mae.score(many)",
        "mae.reconstruct(many)",
        "for progress in mrp.Trainer(mae, images, epochs=1000, threads=1): pass",
    ],
)
def test_control_c(call):
    check_interruption(call, SETUP, after="assert mae.transform(images[:2]).shape == (2, 64)")


def test_cancel_from_another_thread(images):
    model = mrp.Model(image_size=8, **NETWORK)
    assert model.cancel() is False
    started = threading.Event()

    def cancel():
        started.wait()
        while not model.cancel():
            pass

    thread = threading.Thread(target=cancel)
    thread.start()
    assert model.pretrain(images, epochs=1e5, batch_size=8, threads=1, callback=lambda progress: started.set()) is False
    thread.join()
    assert model.encode(images).shape == (40, 16)


# ---- Threads


def test_a_model_is_used_by_one_thread_at_a_time(images):
    model = mrp.Model(image_size=8, **NETWORK)
    started, results = threading.Event(), []

    def other():
        started.wait()
        for call in (model.copy, lambda: model.encode(images), lambda: model.pretrain(images), lambda: model.save("/tmp/never")):
            try:
                call()
                results.append("worked")
            except mrp.BusyError:
                results.append("busy")
        model.cancel()

    thread = threading.Thread(target=other)
    thread.start()
    model.pretrain(images, epochs=1e5, batch_size=8, threads=1, callback=lambda progress: started.set())
    thread.join()
    assert results == ["busy"] * 4


def test_python_runs_meanwhile(images):
    model = mrp.Model(image_size=8, **NETWORK)

    def work():
        while not model.cancel():
            time.sleep(0.001)

    # The run ends only because the other thread gets to run Python meanwhile.
    thread = threading.Thread(target=work)
    thread.start()
    assert model.pretrain(images, epochs=1e6, batch_size=8, threads=1) is False
    thread.join()


def test_models_train_side_by_side(images, tmp_path):
    expected = file_of(mrp.MaskedAutoencoder(**TINY).fit(images), tmp_path)
    estimators = [mrp.MaskedAutoencoder(**TINY) for _ in range(4)]
    threads = [threading.Thread(target=estimator.fit, args=(images,)) for estimator in estimators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {file_of(estimator, tmp_path) for estimator in estimators} == {expected}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_forked_child_trains_too(images, tmp_path, threads):
    options = TINY | {"threads": threads}
    expected = file_of(mrp.MaskedAutoencoder(**options).fit(images), tmp_path)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(120)
            mae = mrp.MaskedAutoencoder(**options).fit(images)
            code = 0 if file_of(mae, tmp_path, "child") == expected else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert file_of(mrp.MaskedAutoencoder(**options).fit(images), tmp_path) == expected


# ---- Trainers


def test_trainer(images, tmp_path):
    options = {key: value for key, value in TINY.items() if key not in ("progress", "random_state")} | {"seed": 3}
    model = mrp.Model(options, image_size=8)
    trainer = mrp.Trainer(model, images, options)
    assert trainer.plan.steps == 10
    assert trainer.plan.bytes > 0
    for progress in trainer:
        if progress.step == 4:
            break
    assert model.encode(images).shape == (40, 16)
    assert repr(trainer) == "Trainer(pretrain, step 4 of 10)"
    assert [progress.step for progress in trainer] == [5, 6, 7, 8, 9, 10]
    assert trainer.step() is False
    model.save(tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == file_of(mrp.MaskedAutoencoder(**TINY).fit(images), tmp_path, "n")


def masked_trainer(images, masking, **more):
    model = mrp.Model(image_size=8, **NETWORK)
    return mrp.Trainer(model, images, masking=masking, augmentation="none", threads=1, batch_size=8, epochs=2, **more)


def test_the_caller_chooses_the_masks(images):
    seen = []

    def hide_all_but_the_third(numbers):
        seen.append(numbers)
        mask = np.ones((len(numbers), 4), bool)
        mask[:, 2] = False
        return mask

    def features(masking):
        trainer = masked_trainer(images, masking)
        assert sum(1 for _ in trainer) == 10
        return trainer.model.encode(images)

    masked = features(hide_all_but_the_third)
    assert sorted(np.concatenate(seen[:5])) == list(range(40))  # an epoch of 5 steps
    # As noise: the hidden patches come in another order, so sums round differently.
    np.testing.assert_allclose(features(lambda numbers: np.tile([1.0, 2.0, 0.5, 3.0], (len(numbers), 1))), masked, atol=2e-3)
    assert not np.allclose(features(None), masked, atol=2e-3)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda n: np.zeros((len(n), 4), bool), ValueError, "hides 0 of 4 patches, mask_ratio 0.75 hides 3"),
        (lambda n: np.full((len(n), 4), np.nan), ValueError, "is NaN at patch 0"),
        (lambda n: np.zeros((len(n), 5)), ValueError, "40 values for 8 images of 4 patches"),
        (lambda n: np.zeros(4), ValueError, r"shape \(4,\)"),
        (lambda n: 1 / 0, ZeroDivisionError, "division"),
    ],
)
def test_wrong_masks_stop_the_step_only(images, answer, error, words):
    trainer = masked_trainer(images, answer)
    before = trainer.model.encode(images)
    with pytest.raises(error, match=words):
        trainer.step()
    assert trainer.progress.step == 0
    assert np.array_equal(trainer.model.encode(images), before)


def test_masking_belongs_to_pretraining(images, labels):
    with pytest.raises(mrp.StateError, match="pretraining"):
        masked_trainer(mrp.Dataset(images, labels), lambda numbers: None, phase="finetune")


def test_a_trainer_resumes_exactly(images, labels, tmp_path):
    options = {key: value for key, value in TINY.items() if key not in ("progress", "random_state")}
    dataset = mrp.Dataset(images, labels)

    def trainer():
        return mrp.Trainer(mrp.Model(options, image_size=8), dataset, options, phase="finetune")

    whole, first, second = trainer(), trainer(), trainer()
    list(whole)
    for progress in first:
        if progress.step == 7:
            break
    first.save(tmp_path / "run.ckpt")
    second.resume(tmp_path / "run.ckpt")
    assert [progress.step for progress in second] == [8, 9, 10]
    assert file_of(second.model, tmp_path) == file_of(whole.model, tmp_path)


def leave_by_break(trainer):
    for progress in trainer:
        if progress.step == 4:
            break


def leave_by_error(trainer):
    for progress in trainer:
        if progress.step == 4:
            raise ZeroDivisionError


def leave_by_interrupt(trainer):
    for progress in trainer:
        if progress.step == 4:
            raise KeyboardInterrupt


def leave_by_suspending(trainer):
    for _ in range(4):
        trainer.step()
    trainer.suspend()


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_interrupt, leave_by_suspending])
def test_a_run_that_is_left_is_suspended_in_its_folder(images, tmp_path, leave):
    options = {key: value for key, value in TINY.items() if key not in ("progress", "random_state")}

    def trainer(**more):
        return mrp.Trainer(mrp.Model(options, image_size=8), images, options, **more)

    whole, first = trainer(), trainer(run_folder=tmp_path / "run")
    list(whole)
    assert (whole.end, first.end) == ("finished", None)
    with contextlib.suppress(ZeroDivisionError, KeyboardInterrupt):
        leave(first)
    assert (first.end, first.progress.step) == ("suspended", 4)
    assert [path.name for path in (tmp_path / "run").glob("*.ckpt")] == ["pretrain-00000004.ckpt"]
    if leave is leave_by_break:
        list(first)  # the same one goes on
        assert file_of(first.model, tmp_path) == file_of(whole.model, tmp_path)
    loss = first.progress.loss
    del first
    second = trainer(run_folder=tmp_path / "run")
    assert (second.progress.loss, second.end) == (loss, "finished" if leave is leave_by_break else None)
    list(second)
    assert second.end == "finished"
    assert file_of(second.model, tmp_path) == file_of(whole.model, tmp_path)


def test_a_run_without_a_folder_is_not_suspended(images):
    trainer = mrp.Trainer(mrp.Model(image_size=8, **NETWORK), images, epochs=1, batch_size=8, threads=1)
    for _ in trainer:
        break
    assert trainer.end is None
    with pytest.raises(mrp.StateError, match="no run_folder"):
        trainer.suspend()
    assert [progress.step for progress in trainer] == [2, 3, 4, 5]
    assert trainer.end == "finished"


def test_an_error_in_a_step_suspends_the_run(images, tmp_path):
    def masking(numbers):
        if trainer.progress.step == 3:
            raise ZeroDivisionError
        return np.random.default_rng(0).random((len(numbers), 4))

    trainer = masked_trainer(images, masking, run_folder=tmp_path)
    with pytest.raises(ZeroDivisionError):
        list(trainer)
    assert trainer.end == "suspended"
    trainer = None
    gc.collect()  # the exception's frames
    assert masked_trainer(images, None, run_folder=tmp_path).progress.step == 3


def test_control_c_suspends_the_run(tmp_path):
    check_interruption(
        "for progress in mrp.Trainer(mae, images, epochs=1000, threads=1, run_folder=folder): pass",
        textwrap.dedent(SETUP) + f"folder = {str(tmp_path / 'run')!r}\n",
        after="""
            trainer = mrp.Trainer(mae, images, epochs=1000, threads=1, run_folder=folder)
            with open(f"{folder}/pretrain.csv") as file:
                assert len(file.readlines()) - 1 == trainer.progress.step > 0
        """,
    )


def test_a_trainer_keeps_what_it_needs(images):
    trainer = mrp.Trainer(mrp.Model(image_size=8, **NETWORK), np.asfortranarray(images), epochs=1, batch_size=8, threads=1)
    gc.collect()
    assert [progress.step for progress in trainer] == [1, 2, 3, 4, 5]


# ---- Memory


def test_memory_is_given_back(images, labels):
    def everything():
        mae = mrp.MaskedAutoencoder(**TINY).fit(images)
        mrp.Classifier(mae, **RUN).fit(images, labels).predict(images)
        mae.reconstruct(images)
        mrp.Trainer(mae, images, epochs=1).step()
        mrp.Dataset.generate(10).subset(5).images()
        with pytest.raises(mrp.MrpIOError):
            mae.save("/nowhere/m.safetensors")
        with pytest.raises(mrp.MrpError):
            mae.encode(images, layer=9)

    everything()
    gc.collect()
    before = mrp.memory_in_use()
    for _ in range(5):
        everything()
    gc.collect()
    assert mrp.memory_in_use() == before


def test_references_are_balanced(images):
    dataset = mrp.Dataset(images)
    model = mrp.Model(image_size=8, **NETWORK)
    config = mrp.Config(threads=1)
    out = np.empty((40, 16), np.float32)
    wrong = np.empty((40, 15), np.float32)
    objects = (dataset._handle, model._handle, config._handle, out, wrong)
    before = [sys.getrefcount(item) for item in objects]
    for _ in range(50):
        _mrp.encode(model._handle, dataset._handle, config._handle, out)
        with pytest.raises(mrp.ArgumentError):
            _mrp.encode(model._handle, dataset._handle, config._handle, wrong)
        with pytest.raises(TypeError):
            _mrp.encode(model._handle, model._handle, config._handle, out)
    gc.collect()
    assert [sys.getrefcount(item) for item in objects] == before
