"""The command `mrp` as people have it: a process, its output, its files and its exit status."""

import contextlib
import csv
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from typing import NamedTuple

import mrp
import numpy as np
import pytest
from mrp import _command, _command_work

SMALL = (
    "--width 16 --depth 1 --heads 2 --mlp-ratio 2 --decoder-width 16 --decoder-depth 1 --decoder-heads 2 --patch-size 8 --image-size 16 "
    "--threads 1"
).split()
RUN = "--batch-size 8 --threads 1".split()


class Done(NamedTuple):
    stdout: str
    stderr: str


def command(*words, folder, status=0):
    """Runs the command line in this process, which saves the seconds of starting one."""
    output, errors, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with contextlib.chdir(folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = _command.main([str(word) for word in words])
        except SystemExit as exit:
            code = exit.code or 0
        finally:
            signal.signal(signal.SIGTERM, before)
    assert code == status, output.getvalue() + errors.getvalue()
    return Done(output.getvalue(), errors.getvalue())


def answer(*words, folder):
    return json.loads(command(*words, "--json", folder=folder).stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with an encoder and a classifier that the command line made."""
    folder = tmp_path_factory.mktemp("made")
    command("pretrain", "generated:64", *SMALL, "--batch-size", 8, "--epochs", 2, folder=folder)
    command("finetune", "generated:64", "--from", "encoder.safetensors", *RUN, "--epochs", 1, folder=folder)
    return folder


# ---- Training


def test_pretrain_is_the_packages_pretraining(made):
    options = {"width": 16, "depth": 1, "heads": 2, "mlp_ratio": 2, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    mae = mrp.MaskedAutoencoder(**options, patch_size=8, image_size=16, threads=1, batch_size=8, epochs=2, progress=False)
    mae.fit(mrp.Dataset.generate(64, image_size=16))
    images = mrp.Dataset.generate(8, image_size=16)
    np.testing.assert_array_equal(mae.transform(images), mrp.load(made / "encoder.safetensors").transform(images))
    assert (made / "encoder.json").exists()
    assert steps_of(made / "encoder.run/pretrain.csv") == list(range(1, 17))
    assert not list((made / "encoder.run").glob("*.ckpt"))


def test_json_of_a_run(tmp_path):
    result = answer("pretrain", "generated:32", *SMALL, "--batch-size", 8, "--epochs", 2, "-o", "my.safetensors", folder=tmp_path)
    assert result["finished"] is True
    assert (result["step"], result["steps"]) == (8, 8)
    assert np.isfinite(result["loss"])
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    assert result["output"] == "my.safetensors"
    assert (result["stopped"], result["goes_on"], result["run_folder"]) == (None, False, "my.run")
    assert sorted(os.listdir(tmp_path)) == ["my.json", "my.run", "my.safetensors"]


# ---- Runs that stop and go on

LONG = ("pretrain", "generated:256", *SMALL, "--batch-size", "8", "--epochs", "40", "--checkpoint-steps", "10")  # 1280 steps


def rows_of(log):
    """The log without what depends on time."""
    with open(log) as file:
        return [{key: row[key] for key in row if key not in ("seconds", "images_per_second")} for row in csv.DictReader(file)]


def steps_of(log):
    return [int(row["step"]) for row in rows_of(log)]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with the output and the log of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    command(*LONG, "-o", "whole.safetensors", folder=folder)
    assert steps_of(folder / "whole.run/pretrain.csv") == list(range(1, 1281))
    return folder


def check_resumption(folder, whole, stopped_at):
    """What remains of the run `parts` is refused without --resume, and ends with it as the whole run did."""
    words = (*LONG, "-o", "parts.safetensors")
    before = contents(folder)
    refusal = command(*words, folder=folder, status=1).stderr
    assert f"'parts.run' has a run that got to step {stopped_at}: --resume goes on with it, another --run-folder leaves it alone" in refusal
    assert contents(folder) == before
    resumed = answer(*words, "--resume", folder=folder)
    assert (resumed["finished"], resumed["stopped"], resumed["step"]) == (True, None, 1280)
    assert (folder / "parts.safetensors").read_bytes() == (whole / "whole.safetensors").read_bytes()
    assert rows_of(folder / "parts.run/pretrain.csv") == rows_of(whole / "whole.run/pretrain.csv")
    assert not list(folder.rglob("*.ckpt"))
    said = command(*words, "--resume", folder=folder, status=1).stderr
    assert "there is nothing to resume: 'parts.run' has no checkpoint of pretrain" in said


def newest_checkpoint(folder):
    return max(int(path.stem.split("-")[1]) for path in folder.glob("pretrain-*.ckpt"))


def test_a_time_budget_stops_and_resume_goes_on(whole, tmp_path):
    words = (*LONG, "-o", "parts.safetensors", "--time-budget", "0.05s")
    stopped = answer(*words, folder=tmp_path)
    assert (stopped["finished"], stopped["stopped"], stopped["goes_on"]) == (False, "time_budget", True)
    assert 0 < stopped["step"] < stopped["steps"]
    assert mrp.load(tmp_path / "parts.safetensors")  # what was learned so far
    checkpoint = tmp_path / f"parts.run/pretrain-{stopped['step']:08}.ckpt"
    assert json.loads(command("info", checkpoint, "--json", folder=tmp_path).stdout)["state"]["step"] == stopped["step"]
    text = command(*words, "--resume", folder=tmp_path).stdout
    assert "stopped: time budget; go on with --resume (state in 'parts.run')" in text
    check_resumption(tmp_path, whole, newest_checkpoint(tmp_path / "parts.run"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_signal_stops_and_resume_goes_on(whole, tmp_path, number, status):
    process = subprocess.Popen(
        [sys.executable, "-m", "mrp", *LONG, "-o", "parts.safetensors"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # jobs in the background inherit "ignore"
    )
    log, folder = tmp_path / "parts.run/pretrain.csv", tmp_path / "parts.run"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") > 45):
        time.sleep(0.001)
    process.send_signal(number)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    step = newest_checkpoint(folder)
    if number == signal.SIGKILL:
        assert step <= steps_of(log)[-1]
        assert not (tmp_path / "parts.safetensors").exists()
    else:
        assert steps_of(log) == list(range(1, step + 1))
        assert "stopped: interrupted; go on with --resume (state in 'parts.run')" in text
        assert mrp.load(tmp_path / "parts.safetensors")
    check_resumption(tmp_path, whole, step)


def test_a_run_folder_of_ones_own_keeps_its_checkpoints(tmp_path):
    words = ("pretrain", "generated:64", *SMALL, "--batch-size", 8, "--epochs", 2, "--run-folder", "run", "-o", "e.safetensors")
    first = answer(*words, folder=tmp_path)
    output, log = (tmp_path / "e.safetensors").read_bytes(), rows_of(tmp_path / "run/pretrain.csv")
    assert sorted(os.listdir(tmp_path)) == ["e.json", "e.safetensors", "run"]
    assert "has a run that got to step 16" in command(*words, folder=tmp_path, status=1).stderr
    # Nothing is left to do but to write the output, which a process that died at the very end had not done.
    (tmp_path / "e.safetensors").unlink()
    again = answer(*words, "--resume", folder=tmp_path)
    assert (again["finished"], again["step"], again["loss"]) == (True, 16, first["loss"])
    assert (tmp_path / "e.safetensors").read_bytes() == output
    assert rows_of(tmp_path / "run/pretrain.csv") == log
    # The phases are told apart.
    tuning = ("finetune", "generated:64", "--from", "e.safetensors", *RUN, "--epochs", 1, "--run-folder", "run")
    assert "no checkpoint of finetune" in command(*tuning, "--resume", folder=tmp_path, status=1).stderr
    assert answer(*tuning, folder=tmp_path)["finished"]
    assert len(rows_of(tmp_path / "run/finetune.csv")) == 8


def test_a_run_folder_in_use_is_refused(tmp_path):
    options = {"run_folder": tmp_path / "e.run", "epochs": 1, "batch_size": 8, "threads": 1}
    model = mrp.Model(image_size=8, patch_size=4, width=16, depth=1, heads=2)
    holder = mrp.Trainer(model, np.zeros((16, 3, 8, 8), np.uint8), options)
    done = command("pretrain", "generated:64", *SMALL, "-o", "e.safetensors", folder=tmp_path, status=1)
    assert "in use by another run" in done.stderr
    del holder
    assert not (tmp_path / "e.safetensors").exists()


def test_resume_needs_a_place(made, tmp_path):
    words = ("probe", "generated:64", "--from", made / "encoder.safetensors", *RUN, "--epochs", 1)
    assert "--resume needs the --output or the --run-folder" in command(*words, "--resume", folder=tmp_path, status=1).stderr
    assert answer(*words, folder=tmp_path)["run_folder"] is None
    assert os.listdir(tmp_path) == []


def test_finetune_from_an_encoder_and_from_scratch(made, tmp_path):
    encoder = made / "encoder.safetensors"
    test = ("--test", "generated:20:64", "--image-size", 16)
    words = ("finetune", "generated:64", "--labels", 20, *RUN, "--epochs", 1, "-o", "c.safetensors")
    result = answer(*words, "--from", encoder, "--test", "generated:20:64", folder=tmp_path)
    assert result["step"] == 2  # 20 images in whole batches of 8
    assert 0 <= result["top1"] <= 1
    loaded = mrp.load(tmp_path / "c.safetensors")
    assert loaded.model_.info["hidden_size"] == 16
    scratch = answer(*words, *SMALL[:-4], *test, folder=tmp_path)
    assert 0 <= scratch["top1"] <= 1
    assert "--width cannot be given" in command(*words, "--from", encoder, "--width", 16, folder=tmp_path, status=1).stderr


def test_probe(made, tmp_path):
    encoder = made / "encoder.safetensors"
    words = ("probe", "generated:64", "--from", encoder, "--test", "generated:20:64", *RUN, "--epochs", 1)
    result = answer(*words, "--knn", 3, "-o", "probe.safetensors", folder=tmp_path)
    assert 0 <= result["top1"] <= 1
    assert 0 <= result["knn_top1"] <= 1
    before, after = mrp.load(encoder).model_, mrp.load(tmp_path / "probe.safetensors").model_
    np.testing.assert_array_equal(before.parameter("blocks.0.mlp.fc1.weight"), after.parameter("blocks.0.mlp.fc1.weight"))
    assert "nearest neighbours: " in command(*words, "--knn", 3, folder=tmp_path).stdout
    assert "--from" in command("probe", "generated:64", folder=tmp_path, status=1).stderr


# ---- Images of every kind


def test_arrays(made, tmp_path, images, labels):
    encoder = made / "encoder.safetensors"
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "flat.npy", images.reshape(40, -1))
    np.save(tmp_path / "labels.npy", labels)
    np.savez(tmp_path / "both.npz", images=images, labels=np.array(["ant", "bee", "cat", "dog"])[labels])
    expected = mrp.load(encoder).transform(images)
    for words in (("images.npy",), ("flat.npy", "--image-shape", "3,8,8"), ("both.npz",), ("images.npy", "--layout", "NCHW")):
        assert answer("encode", *words, "--model", encoder, "-o", "f.npy", folder=tmp_path)["shape"] == [40, 16]
        np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), expected)
    words = ("--from", encoder, *RUN, "--epochs", 1)
    assert answer("finetune", "images.npy", "--targets", "labels.npy", *words, folder=tmp_path)["finished"]
    assert answer("finetune", "both.npz", *words, "-o", "named.safetensors", folder=tmp_path)["finished"]
    assert list(mrp.load(tmp_path / "named.safetensors").classes_) == ["ant", "bee", "cat", "dog"]
    assert "labels" in command("finetune", "images.npy", *words, folder=tmp_path, status=1).stderr
    assert "channels" in command("encode", "both.npz", "--model", encoder, "--layout", "NHWC", folder=tmp_path, status=1).stderr
    np.savez(tmp_path / "other.npz", pixels=images)
    assert "an array named images is needed" in command("encode", "other.npz", "--model", encoder, folder=tmp_path, status=1).stderr


def test_folders(made, folder, tmp_path):
    result = answer("finetune", folder, "--from", made / "encoder.safetensors", *RUN, "--epochs", 1, "--test", folder, folder=tmp_path)
    assert 0 <= result["top1"] <= 1
    done = command("predict", folder, "--model", "classifier.safetensors", folder=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["image"] for row in rows] == [str(path) for path in sorted(folder.glob("*/*"))]
    assert {row["class"] for row in rows} <= {"cat", "dog"}
    assert f"10 images, {100 * result['top1']:.2f} % correct by their labels" in done.stderr
    assert (
        "belongs to a .npy file"
        in command("predict", folder, "--targets", "x.npy", "--model", "classifier.safetensors", folder=tmp_path, status=1).stderr
    )


# ---- Use


def test_predict(made, tmp_path):
    model = made / "classifier.safetensors"
    command("predict", "generated:12", "--model", model, "-o", "out.csv", folder=tmp_path)
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    command("predict", "generated:12", "--model", model, "-o", "out.npy", folder=tmp_path)
    probabilities = np.load(tmp_path / "out.npy")
    loaded = mrp.load(model)
    np.testing.assert_array_equal(probabilities, loaded.predict_proba(mrp.Dataset.generate(12)))
    assert [row["class"] for row in rows] == list(loaded.classes_[probabilities.argmax(1)])
    assert [row["image"] for row in rows] == [f"image {index}" for index in range(12)]
    result = answer("predict", "generated:12", "--model", model, folder=tmp_path)
    assert [entry["class"] for entry in result["predictions"]] == [row["class"] for row in rows]
    assert 0 <= result["top1"] <= 1
    assert "no classifier" in command("predict", "generated:12", "--model", made / "encoder.safetensors", folder=tmp_path, status=1).stderr


def test_encode_takes_the_tables_options(made, tmp_path):
    model = made / "encoder.safetensors"
    assert answer("encode", "generated:5", "--model", model, "--features", "tokens", "-o", "t", folder=tmp_path) == {
        "command": "encode",
        "output": "t.npy",
        "shape": [5, 5, 16],
    }
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), mrp.load(model).encode(mrp.Dataset.generate(5), features="tokens"))


def test_reconstruct(made, tmp_path):
    model = made / "encoder.safetensors"
    result = answer("reconstruct", "generated:5", "--model", model, "--count", 3, "--mask-ratio", 0.5, "-o", "pictures", folder=tmp_path)
    assert result["images"] == 3
    assert np.isfinite(result["loss"])
    assert sorted(os.listdir(tmp_path / "pictures")) == ["00000.png", "00001.png", "00002.png"]
    picture = (tmp_path / "pictures/00000.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (3 * 16 + 4, 16)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pictures_are_what_pillow_reads(channels):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pixels = np.random.default_rng(0).random((channels, 5, 7), dtype=np.float32) * 1.2 - 0.1
    read = np.asarray(image.open(io.BytesIO(_command_work.png(pixels))))
    shown = pixels.transpose(1, 2, 0) if channels == 3 else pixels[0]
    np.testing.assert_array_equal(read, np.clip(np.rint(255 * shown), 0, 255).astype(np.uint8))


# ---- Information


def test_info_of_every_kind_of_file(made, folder, tmp_path):
    text = command("info", made / "encoder.safetensors", folder=tmp_path).stdout
    assert "encoder: width 16, depth 1, 2 heads" in text
    assert "images: 3 x 16 x 16, patches 8 x 8" in text
    assert "pretrained: yes" in text
    assert "classifier: 10 classes: class0" in command("info", made / "classifier.safetensors", folder=tmp_path).stdout
    assert "model configuration" in command("info", made / "encoder.json", folder=tmp_path).stdout
    assert "classes: cat, dog" in command("info", folder, folder=tmp_path).stdout
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.float32))
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 5), np.uint8))
    assert "3 x 4 float32" in command("info", "a.npy", folder=tmp_path).stdout
    assert "images: 2 x 5 uint8" in command("info", "a.npz", folder=tmp_path).stdout
    described = json.loads(command("info", made / "encoder.safetensors", "--json", folder=tmp_path).stdout)
    assert described["kind"] == "model"
    assert described["bytes"] == (made / "encoder.safetensors").stat().st_size
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bad.bin").write_bytes(b"no file of ours")
    for bad in ("bad.json", "bad.bin", "missing.safetensors"):
        assert bad in command("info", bad, folder=tmp_path, status=1).stderr


def test_options_as_json(tmp_path):
    table = json.loads(command("options", "--json", folder=tmp_path).stdout)
    assert [option["key"] for option in table["options"]] == list(mrp.options())
    assert [option["key"] for option in json.loads(command("options", "seed", "--json", folder=tmp_path).stdout)["options"]] == ["seed"]


# ---- Wrong usage


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "generated:8", "--mask-rato", "0.5"], "unknown option '--mask-rato': the nearest is '--mask-ratio'"),
        (["pretrain", "generated:8", "--epoch=3"], "unknown option '--epoch': the nearest is '--epochs'"),
        (["predict", "generated:8", "--modell", "x", "--model", "y"], "unknown option '--modell': the nearest is '--model'"),
        (["pretrain", "generated:8", "--mask-ratio", "1.5"], "mask_ratio 1.5 is outside [0.0, 1.0)"),
        (["pretrain", "generated:8", "--encoder", "resnet"], "encoder 'resnet' is not one of"),
        (["pretrain", "generated:8", "--time-budget", "soon"], "'soon' is not a duration"),
        (["pretrain", "generated:8", "more"], "unexpected argument 'more'"),
        (["pretrain"], "DATA"),
        (["pretend"], "invalid choice: 'pretend'"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(tmp_path, words, message):
    done = command(*words, folder=tmp_path, status=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("data", ["missing", "missing.npy", "generated:x", "generated:0"])
def test_errors_are_one_line_and_status_1(tmp_path, data):
    done = command("pretrain", data, *SMALL, folder=tmp_path, status=1)
    assert done.stderr.startswith("mrp: ")
    assert done.stderr.count("\n") == 1


def test_underscores_are_dashes(tmp_path):
    assert _command.parse(["pretrain", "generated:8", "--mask_ratio", "0.5"]).table == {"mask_ratio": "0.5"}
    assert _command.parse(["pretrain", "generated:8", "--batch_size=4"]).table == {"batch_size": "4"}


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5h", 1800), ("1m30s", 90)])
def test_durations(text, seconds):
    assert _command.seconds_of(text) == seconds


def test_help_and_version(tmp_path):
    text = command("--help", folder=tmp_path).stdout
    for name in _command_work.COMMANDS:
        assert name in text
        assert "exit status" in command(name, "--help", folder=tmp_path).stdout
    assert mrp.__version__ in command("--version", folder=tmp_path).stdout


def test_the_process(tmp_path):
    """`python -m mrp` with its streams and statuses."""

    def run(*words):
        return subprocess.run([sys.executable, "-m", "mrp", *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("pretrain", "generated:32", *SMALL, "--epochs", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["finished"]
    assert run("info", "nothing").returncode == 1
    assert run("infos", "nothing").returncode == 2
    reader = subprocess.Popen([sys.executable, "-m", "mrp", "options"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader.stdout.close()  # as `mrp options | head -0` does
    assert reader.stderr.read() == b""


def test_prior_of_predictions(made, tmp_path):
    """Half of the images of one class: with all classes equally likely the other one gains."""
    shares = []
    for words in ([], ["--prior", "uniform", "--class-counts", "9,3,3,3,3,3,3,3,3,3"]):
        command("predict", "generated:8", "--model", made / "classifier.safetensors", *words, "-o", "p.npy", folder=tmp_path)
        shares.append(np.load(tmp_path / "p.npy"))
    expected = shares[0] / np.array([9] + [3] * 9)
    assert expected.shape[1] == 10
    np.testing.assert_allclose(shares[1], expected / expected.sum(1, keepdims=True), rtol=1e-4)


def test_clusters_as_links_and_files(made, tmp_path):
    """The folder of links opens as a tree of the labels that the other forms list."""
    model = made / "encoder.safetensors"
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(6):
            shade = np.full((3, 16, 16), (index + (name == "dog")) / 8, np.float32)
            (tmp_path / "photos" / name / f"{index}.png").write_bytes(_command_work.png(shade))
    for output in ("finer", "finer.csv", "finer.npy"):
        command("cluster", "photos", "--model", model, "--per-class", 3, "-o", output, folder=tmp_path)
    tree = mrp.ImageFolder(tmp_path / "finer")
    names = np.load(tmp_path / "finer.npy").tolist()
    assert len(tree) == 12
    assert tree.class_names == ["cat/0", "cat/1", "cat/2", "dog/0", "dog/1", "dog/2"] == sorted(set(names))
    assert sorted(names) == [tree.class_names[label] for label in tree.labels]
    with open(tmp_path / "finer.csv") as file:
        assert [row["class"] for row in csv.DictReader(file)] == names
    assert (
        "finer' exists" in command("cluster", "photos", "--model", model, "--per-class", 3, "-o", "finer", folder=tmp_path, status=1).stderr
    )
