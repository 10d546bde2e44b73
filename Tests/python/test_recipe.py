"""Run folders, measurements during training, probes, the options of augmentation: what Python adds to tests of the library itself."""

import csv
import gc
import json
import struct
import subprocess
import sys
import weakref

import mrp
import numpy as np
import pytest
from conftest import NETWORK, RUN, TINY
from mrp import _mrp


def levels(count, start=0):
    """Dark, middle and bright images: three classes that any encoder tells apart."""
    labels = np.arange(count, dtype=np.int32) % 3
    noise = np.random.default_rng(start).integers(0, 30, (count, 3, 8, 8))
    return (20 + 90 * labels[:, None, None, None] + noise).astype(np.uint8), labels


def test_a_run_folder_continues_by_itself(images, tmp_path):
    options = TINY | {"run_folder": tmp_path / "run", "checkpoint_steps": 1}
    whole = mrp.MaskedAutoencoder(**TINY).fit(images)
    cut = mrp.MaskedAutoencoder(**options).fit(images, callback=lambda progress: progress.step == 4)
    assert cut.history_[-1]["step"] == 4
    assert sorted(path.name for path in (tmp_path / "run").glob("*.ckpt")) == [f"pretrain-0000000{step}.ckpt" for step in (2, 3, 4)]
    resumed = mrp.MaskedAutoencoder(**options).fit(images)
    whole.save(tmp_path / "a.safetensors")
    resumed.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    with open(tmp_path / "run/pretrain.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 11))
    assert float(rows[-1]["mean_loss"]) == whole.history_[-1]["loss"]


def test_an_error_leaves_the_run_in_its_folder(images, tmp_path):
    wild = TINY | {"learning_rate": 1e30, "warmup_epochs": 0, "epochs": 50, "run_folder": tmp_path}
    mae = mrp.MaskedAutoencoder(**wild)
    with pytest.raises(mrp.NumericError):
        mae.fit(images)
    with open(tmp_path / "pretrain.csv") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == list(range(1, mae.history_[-1]["step"] + 1))
    assert [path.name for path in tmp_path.glob("*.ckpt")] == [f"pretrain-{steps[-1]:08}.ckpt"]


def test_a_folder_in_use_is_an_error(images, tmp_path):
    options = {"run_folder": tmp_path / "run", "epochs": 1, "batch_size": 8, "threads": 1}
    first = mrp.Trainer(mrp.Model(image_size=8, **NETWORK), images, options)
    first.step()
    with pytest.raises(mrp.StateError, match="in use by another run"):
        mrp.Trainer(mrp.Model(image_size=8, **NETWORK), images, options)


def test_measurements_reach_history_and_progress(tmp_path):
    (images, labels), held_out = levels(48), levels(30, 1)
    classifier = mrp.Classifier(**NETWORK, **RUN | {"epochs": 4, "random_state": 0}).fit(images, labels, validation=held_out)
    assert [row["top1"] for row in classifier.history_][-1] == classifier.score(*held_out)
    known, other = mrp.Dataset(images, labels), mrp.Dataset(*held_out)
    seen = []
    mae = mrp.MaskedAutoencoder(**TINY, knn_k=5, validate_epochs=1, probe="both", probe_epochs=3)
    mae.fit(images, validation=other, reference=known, callback=seen.append)
    assert seen[-1].knn_top1 == mae.model_.probe(known, other, "knn", knn_k=5)
    assert seen[-1].best >= 0.9
    assert seen[-1].best_step in (6, 12)
    assert "top1" not in mae.history_[-1]
    with pytest.raises(mrp.ArgumentError, match="labelled reference images"):
        mrp.MaskedAutoencoder(**TINY).fit(images, validation=other)
    with pytest.raises(mrp.ArgumentError, match="classes that the training images lack"):
        mrp.Classifier(**NETWORK, **RUN).fit(images, labels, validation=(held_out[0], held_out[1] + 7))


def test_held_out_images_live_as_long_as_they_are_needed(images, labels, model):
    def alive(reference):
        gc.collect()
        return reference() is not None

    arrays = [images.copy() for _ in range(2)]
    first, second = (weakref.ref(array) for array in arrays)
    model.validate_on(mrp.Dataset(arrays[0], labels))
    trainer = mrp.Trainer(model, mrp.Dataset(images, labels), phase="finetune", epochs=1, batch_size=8, threads=1)
    model.validate_on(mrp.Dataset(arrays[1], labels))
    del arrays
    assert alive(first)
    assert alive(second)
    for _ in trainer:
        pass
    assert 0 <= trainer.progress.top1 <= 1
    del trainer
    assert not alive(first)
    assert alive(second)
    model.validate_on(None)
    assert not alive(second)


def test_the_librarys_neighbours_are_those_of_numpy(images, labels, model):
    known, other = mrp.Dataset(images[:30], labels[:30]), mrp.Dataset(images[30:], labels[30:])
    for k in (1, 5, 20):
        assert model.probe(known, other, knn_k=k) == mrp.knn_score(model, known, None, other, None, k=k)
    assert model.probe(*(mrp.Dataset(*levels(60, seed)) for seed in (0, 1)), "linear") > 0.95
    with pytest.raises(mrp.ArgumentError, match="unknown method 'svm'"):
        _mrp.probe(model._handle, known._handle, other._handle, None, "svm")
    with pytest.raises(mrp.ArgumentError, match="needs labels"):
        model.probe(known, images)


def test_confusion(images, labels):
    classifier = mrp.Classifier(**TINY).fit(images, labels)
    dataset = mrp.Dataset(images, labels)
    counts = classifier.model_.confusion_matrix(dataset)
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (labels, classifier.predict(images)), 1)
    assert np.array_equal(counts, expected)
    assert np.allclose(classifier.model_.class_accuracies(dataset), expected.diagonal() / expected.sum(1))
    assert classifier.model_.evaluate(dataset, "balanced_top1") == pytest.approx(np.mean(expected.diagonal() / expected.sum(1)))
    assert classifier.model_.evaluate(dataset, "top5") == 1
    with pytest.raises(mrp.StateError, match="no classifier"):
        mrp.MaskedAutoencoder(**TINY).fit(images).model_.confusion_matrix(dataset)


def test_early_stopping_ends_the_fit(images, labels, tmp_path):
    options = RUN | {"epochs": 50, "learning_rate": 0, "early_stopping": 2}
    classifier = mrp.Classifier(**NETWORK, **options).fit(images, labels, validation=(images, labels))
    assert classifier.history_[-1]["epoch"] == 3


@pytest.mark.parametrize(
    "options",
    [
        {"rand_augment": "m9-mstd0.5-inc1"},
        {"color_jitter": 0.4},
        {"color_jitter": 0.4, "hue_jitter": 0.1},
        {"random_erasing": 0.5},
        {"mixup": 0.8, "cutmix": 1.0},
        {"rand_augment": "9", "random_erasing": 0.25, "erasing_mode": "const", "mixup": 0.2, "mix_probability": 0.5},
    ],
)
def test_augmentations_do_not_depend_on_threads(images, labels, tmp_path, options):
    files = set()
    for threads, loaders in ((1, 0), (2, 2)):
        run = RUN | {"threads": threads, "loader_threads": loaders} | options
        mrp.Classifier(**NETWORK, **run).fit(images, labels).save(tmp_path / "m.safetensors")
        files.add((tmp_path / "m.safetensors").read_bytes())
    mrp.Classifier(**NETWORK, **RUN).fit(images, labels).save(tmp_path / "m.safetensors")
    assert len(files) == 1
    assert (tmp_path / "m.safetensors").read_bytes() not in files


def test_augmentations_name_what_they_cannot_do(labels):
    wide = np.zeros((40, 5, 8, 8), np.uint8)
    with pytest.raises(mrp.ArgumentError, match="rand_augment is made for images of 1 or 3 channels, these have 5"):
        mrp.Classifier(**NETWORK, **RUN, rand_augment="9").fit(wide, labels)
    with pytest.raises(mrp.ArgumentError, match="rand_augment 'm9-x3' is not like"):
        mrp.Classifier(**NETWORK, **RUN, rand_augment="m9-x3").fit(wide[:, :3], labels)
    with pytest.raises(mrp.ArgumentError, match="hue_jitter is made for images of 3 channels, these have 1"):
        mrp.Classifier(**NETWORK, **RUN, hue_jitter=0.1).fit(wide[:, :1], labels)
    mrp.Classifier(**NETWORK, **RUN, random_erasing=0.5, mixup=1.0, cutmix=1.0).fit(wide, labels)


def test_unreadable_images_are_skipped_and_named(folder, tmp_path):
    next(folder.glob("cat/*.png")).write_bytes(b"no image")
    dataset = mrp.ImageFolder(folder)
    options = NETWORK | {"image_size": 8, "epochs": 2, "batch_size": 5, "threads": 1}
    with pytest.raises(mrp.FormatError, match="cat"):
        mrp.Model(options).finetune(dataset, options)
    model = mrp.Model(options)
    assert model.finetune(dataset, options, unreadable_images="skip")


def test_presets_are_files(tmp_path):
    def mrp_command(*words):
        return subprocess.run([sys.executable, "-m", "mrp", *words], capture_output=True, text=True, cwd=tmp_path, check=True).stdout

    values = json.loads(mrp_command("options", "--preset", "mae_vit_tiny_32"))
    assert values == mrp.presets()["mae_vit_tiny_32"].values
    (tmp_path / "recipe.json").write_text(json.dumps(values | NETWORK | {"epochs": 1}))
    words = ["--options", "recipe.json", "--batch-size", "8", "--json", "--threads", "1", "-o", "a.safetensors"]
    result = json.loads(mrp_command("pretrain", "generated:16", *words))
    assert result["steps"] == 2
    (tmp_path / "recipe.json").write_text('{"epohcs": 1}')
    failed = subprocess.run(
        [sys.executable, "-m", "mrp", "pretrain", "generated:16", "--options", "recipe.json"], capture_output=True, text=True, cwd=tmp_path
    )
    assert failed.returncode == 2
    assert "'epochs'" in failed.stderr


def test_the_command_measures_and_stops_early(tmp_path):
    words = "finetune generated:32 --validate generated:16:1000 --epochs 30 --learning-rate 0 --early-stopping 2 --json -o c.safetensors"
    network = [word for key, value in NETWORK.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "mrp", *words.split(), *network, "--image-size", "16", "--threads", "1", "--batch-size", "16"]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout)
    assert (result["finished"], result["stopped"], result["goes_on"]) == (False, "early_stopping", False)
    assert [path.name for path in tmp_path.rglob("*.ckpt")] == ["finetune-best.ckpt"]
    assert result["step"] == 6
    assert result["best_step"] == 2


def test_checkpoints_are_safetensors_of_everyone(images, tmp_path):
    """The format of docs/checkpoints.md, read without the library."""
    mrp.MaskedAutoencoder(**TINY, run_folder=tmp_path).fit(images)
    data = (tmp_path / "pretrain-00000010.ckpt").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header["__metadata__"]["libmrp.checkpoint"] == "3"
    assert json.loads(header["__metadata__"]["libmrp.state"])["step"] == 10
    assert header["libmrp.crc32c"]["data_offsets"] == [len(data) - length - 12, len(data) - length - 8]
    crc = 0xFFFFFFFF
    for byte in data[:-4]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert struct.unpack("<I", data[-4:])[0] == crc ^ 0xFFFFFFFF
