"""Errors by kind: each names the value, and the next correct call works."""

import json
import os
import struct

import mrp
import numpy as np
import pytest
from conftest import RUN, TINY
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def works_afterwards(images):
    """Whatever a test provoked, the next correct call succeeds."""
    yield
    assert np.isfinite(mrp.MaskedAutoencoder(**TINY | {"epochs": 0.2}).fit(images).transform(images)).all()


def test_kinds():
    kinds = {
        mrp.ArgumentError: (ValueError, -1),
        mrp.HandleError: (mrp.MrpError, -2),
        mrp.BusyError: (RuntimeError, -3),
        mrp.MrpMemoryError: (MemoryError, -4),
        mrp.MrpIOError: (OSError, -5),
        mrp.FormatError: (ValueError, -6),
        mrp.VersionError: (mrp.MrpError, -7),
        mrp.StateError: (RuntimeError, -8),
        mrp.NumericError: (ArithmeticError, -9),
        mrp.ForkedError: (RuntimeError, -10),
        mrp.UnsupportedError: (mrp.MrpError, -11),
        mrp.InternalError: (RuntimeError, -99),
        mrp.Cancelled: (mrp.MrpError, 1),
    }
    for kind, (builtin, code) in kinds.items():
        assert issubclass(kind, builtin)
        assert issubclass(kind, mrp.MrpError)
        assert kind.code == code
        assert kind("text").code == code
        assert kind.__module__ == "mrp"
        assert kind.__doc__


def refused(kind, *words):
    return pytest.raises(kind, match=".*".join(words))


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (4, 0, 8, 8), (4, 3, 0, 8), (4, 3, 8, 0)])
def test_empty_arrays(shape):
    with refused(mrp.ArgumentError, r"\b0\b"):
        mrp.Dataset(np.zeros(shape, np.uint8), layout="NCHW")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite(value):
    images = np.zeros((4, 3, 8, 8), np.float32)
    images[2, 1, 3, 4] = value
    with refused(mrp.ArgumentError, "image 2"):
        mrp.Dataset(images)


@pytest.mark.parametrize("count", [0, -1, 41, 2**62, -(2**63)])
def test_subset_sizes(images, count):
    with refused(mrp.ArgumentError, str(count)):
        mrp.Dataset(images).subset(count)


@pytest.mark.parametrize("count", [0, -1, 2**62])
def test_generated_sizes(count):
    with pytest.raises((mrp.ArgumentError, mrp.MrpMemoryError)):
        mrp.Dataset.generate(count)
    with pytest.raises(OverflowError):
        mrp.Dataset.generate(2**64)
    with pytest.raises(OverflowError):
        mrp.Dataset.generate(1, random_state=-1)


def test_labels_out_of_range(images):
    with refused(mrp.ArgumentError, "label -1", "image 3"):
        mrp.Dataset(images, [0, 1, 0, -1] + [0] * 36)
    with refused(mrp.ArgumentError, "5", "3"):
        mrp.Classifier(**TINY | {"classes": 3}).fit(images, np.arange(40) % 5)


def test_a_dataset_with_no_class_of_the_models(classifier, images):
    with refused(mrp.ArgumentError, "(4)", "(0, 1, 2, 3)"):
        classifier.model_.evaluate(mrp.Dataset(images, np.full(40, 4)))


def test_labels_where_they_are_needed(images):
    with refused(mrp.ArgumentError, "labels"):
        mrp.Classifier(**TINY).fit(images)
    with refused(mrp.ArgumentError, "labels"):
        mrp.Classifier(**TINY).fit(mrp.Dataset(images))
    with refused(mrp.ArgumentError, "labels"):
        mrp.Classifier(**TINY).fit(mrp.Dataset(images, [0] * 20 + [1] * 20), [0] * 40)


def test_states(mae, classifier, images):
    with refused(mrp.StateError, "classifier"):
        mae.model_.predict_proba(images)
    with refused(mrp.StateError, "decoder"):
        classifier.model_.reconstruct(images)


@pytest.mark.parametrize("ratio", [1.0, 1.2, -0.5, 0.99, 0.0])
def test_mask_ratios(images, ratio):
    with refused(mrp.ArgumentError, "mask_ratio", str(ratio)):
        mrp.MaskedAutoencoder(**TINY | {"mask_ratio": ratio}).fit(images)


def test_sizes_that_do_not_fit_together(images):
    with refused(mrp.ArgumentError, "8", "3"):
        mrp.MaskedAutoencoder(**TINY | {"patch_size": 3}).fit(images)
    with refused(mrp.ArgumentError, "width", "heads"):
        mrp.MaskedAutoencoder(**TINY | {"heads": 3}).fit(images)
    with pytest.raises((mrp.ArgumentError, mrp.MrpMemoryError)):
        mrp.Model(image_size=65536, patch_size=1)
    with refused(mrp.ArgumentError, "channels|channel"):
        mrp.Model(image_size=8, patch_size=4, width=16, depth=1, heads=2).pretrain(images[:, :2])


def test_a_loss_that_explodes(images):
    options = TINY | {"learning_rate": 1e30, "warmup_epochs": 0, "epochs": 20}
    with refused(mrp.NumericError, "learning_rate|loss"):
        mrp.MaskedAutoencoder(**options).fit(images)


# ---- Folders


def test_folders_that_are_none(tmp_path):
    with refused(mrp.MrpIOError, "nowhere"):
        mrp.ImageFolder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("text")
    with refused(mrp.MrpIOError, "file"):
        mrp.ImageFolder(tmp_path / "file")


def test_empty_folders(tmp_path):
    with refused(ValueError, str(tmp_path)):
        mrp.ImageFolder(tmp_path)
    (tmp_path / "cat").mkdir()
    with refused(ValueError, "cat"):
        mrp.ImageFolder(tmp_path)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    with refused(ValueError, "cat"):
        mrp.ImageFolder(tmp_path)


def spoil(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "data", [b"this is text\n", b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + b"\0" * 20, b"\xff\xd8" + b"\xff\xe0\0\x10JFIF" + b"\0" * 9]
)
def test_files_that_are_no_images(folder, data):
    path = spoil(folder / "dog" / "2.jpg", data)
    (folder / "dog" / "2.png").unlink()
    with refused(mrp.FormatError, "dog/2.jpg"):
        dataset = mrp.ImageFolder(folder)
        mrp.MaskedAutoencoder(**TINY | {"image_size": 8}).fit(dataset)
    path.unlink()
    assert mrp.MaskedAutoencoder(**TINY | {"image_size": 8}).fit(mrp.ImageFolder(folder)).history_


def test_truncated_images(folder):
    for path in sorted(folder.glob("cat/*")):
        data = path.read_bytes()
        spoil(path, data[: len(data) * 2 // 3])
        with refused(mrp.FormatError, path.name):
            mrp.ImageFolder(folder).images(size=8)
        spoil(path, data)
    assert mrp.ImageFolder(folder).images(size=8).shape == (10, 3, 8, 8)


def test_a_file_that_vanishes(folder):
    dataset = mrp.ImageFolder(folder)
    (folder / "cat" / "0.png").unlink()
    with refused(mrp.MrpIOError, "0.png"):
        dataset.images(size=8)


# ---- Model files


def test_files_that_are_no_models(tmp_path):
    for load in (mrp.load, mrp.Model.load, mrp.MaskedAutoencoder.load, mrp.Classifier.load):
        with refused(mrp.MrpIOError, "nowhere"):
            load(tmp_path / "nowhere.safetensors")
        with refused(mrp.MrpIOError, tmp_path.name):
            load(tmp_path)
        with refused(mrp.FormatError, "text"):
            load(spoil(tmp_path / "text.safetensors", b"this is text, and long enough"))
        with pytest.raises(ValueError, match="null"):
            load("a\0b")


def test_truncated_models(mae, tmp_path):
    path = tmp_path / "mae.safetensors"
    mae.save(path)
    data = path.read_bytes()
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for length in [*range(12), *range(12, header, 97), header - 1, header, header + 1, len(data) - 1]:
        with refused(mrp.FormatError, "cut"):
            mrp.load(spoil(tmp_path / "cut.safetensors", data[:length]))
    with refused(mrp.FormatError, "long"):
        mrp.load(spoil(tmp_path / "long.safetensors", data + b"\0"))


def with_header(data, change):
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def without_a_weight(header):
    del header[next(name for name in header if name != "__metadata__")]


def mis_shaped(header):
    next(entry for name, entry in header.items() if name != "__metadata__")["shape"] = [3, 3]


def overlapping(header):
    names = [name for name in header if name != "__metadata__"]
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]


def beyond_the_end(header):
    next(entry for name, entry in header.items() if name != "__metadata__")["data_offsets"] = [0, 2**62]


def negative(header):
    next(entry for name, entry in header.items() if name != "__metadata__")["shape"] = [-1]


def without_configuration(header):
    del header["__metadata__"]


def impossible(header):
    for key, text in header["__metadata__"].items():
        if text.startswith("{"):
            header["__metadata__"][key] = text.replace('"hidden_size":16', '"hidden_size":15')


@pytest.mark.parametrize("change", [without_a_weight, mis_shaped, overlapping, beyond_the_end, negative, impossible])
def test_corrupt_models(mae, tmp_path, change):
    mae.save(tmp_path / "mae.safetensors")
    data = with_header((tmp_path / "mae.safetensors").read_bytes(), change)
    assert data != (tmp_path / "mae.safetensors").read_bytes()
    with refused(mrp.FormatError, "corrupt"):
        mrp.load(spoil(tmp_path / "corrupt.safetensors", data))


def test_weights_without_a_configuration_need_options(mae, tmp_path):
    mae.save(tmp_path / "mae.safetensors")
    data = with_header((tmp_path / "mae.safetensors").read_bytes(), without_configuration)
    with refused(mrp.ArgumentError, "heads"):
        mrp.load(spoil(tmp_path / "bare.safetensors", data))


def test_models_of_the_future(mae, tmp_path):
    mae.save(tmp_path / "mae.safetensors")

    def change(header):
        for key, text in header["__metadata__"].items():
            header["__metadata__"][key] = text.replace('"version":1', '"version":99')

    with refused(mrp.VersionError, "99"):
        mrp.load(spoil(tmp_path / "future.safetensors", with_header((tmp_path / "mae.safetensors").read_bytes(), change)))


def test_weights_that_are_not_finite(mae, tmp_path):
    mae.save(tmp_path / "mae.safetensors")
    data = (tmp_path / "mae.safetensors").read_bytes()
    with refused(mrp.NumericError, "nan"):
        mrp.load(spoil(tmp_path / "nan.safetensors", data[:-4] + struct.pack("<f", float("nan"))))


_model_bytes = {}


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**30), st.integers(0, 255))
def test_any_changed_byte_is_an_error_or_a_model(tmp_path_factory, position, value):
    if not _model_bytes:
        images = np.random.default_rng(7).integers(0, 256, (8, 3, 8, 8), dtype=np.uint8)
        path = tmp_path_factory.mktemp("model") / "m.safetensors"
        mrp.MaskedAutoencoder(**TINY | {"epochs": 0}).fit(images).save(path)
        _model_bytes["data"], _model_bytes["path"] = path.read_bytes(), path.with_name("changed.safetensors")
    data = bytearray(_model_bytes["data"])
    header = 8 + struct.unpack("<Q", data[:8])[0]
    data[position % header] = value
    try:
        mrp.load(spoil(_model_bytes["path"], bytes(data)))
    except mrp.MrpError as error:
        assert error.code in (-1, -4, -6, -7, -9, -11), error  # noqa: PT017 -- so is a model


def test_paths_that_cannot_be_written(mae, tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder" / "model.safetensors").mkdir(parents=True)  # a folder gets this file
    for path in (tmp_path / "missing" / "m.safetensors", tmp_path / "file" / "m.safetensors", tmp_path / "folder"):
        with refused(mrp.MrpIOError, path.name.partition(".")[0]):
            mae.save(path)
    if os.geteuid() != 0:  # root writes everywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with refused(mrp.MrpIOError, "locked"):
            mae.save(tmp_path / "locked" / "m.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "locked") == ["file", "folder"]
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["model.safetensors"]


def test_a_failed_save_leaves_no_broken_file(mae, classifier, tmp_path):
    path = tmp_path / "m.safetensors"
    mae.save(path)
    (tmp_path / "m.json").unlink()
    (tmp_path / "m.json").mkdir()
    with refused(mrp.MrpIOError, "m.json"):
        classifier.save(path)
    assert mrp.load(path).model_.info["hidden_size"] == 16  # the old model or the new one, never a part of it
    folder = tmp_path / "folder"
    (folder / "model.safetensors").mkdir(parents=True)
    with refused(mrp.MrpIOError, "model.safetensors"):
        classifier.save(folder)
    assert [item.name for item in folder.iterdir()] == ["model.safetensors"]


# ---- Calls


def test_wrong_types(mae, images):
    model = mae.model_
    with pytest.raises(TypeError):
        model.pretrain(images, callback="call me", **{key: value for key, value in RUN.items() if key in ("threads",)})
    with pytest.raises(mrp.ArgumentError, match="metric"):
        model.evaluate(images, "top7")
    with pytest.raises(mrp.ArgumentError, match="phase"):
        mrp.Trainer(model, images, phase="play")
    with pytest.raises(TypeError):
        mrp.Trainer("model", images)
    with pytest.raises(mrp.MrpIOError, match="no such folder"):
        mae.transform("no such folder")
    with pytest.raises(mrp.ArgumentError, match="encoder"):
        mrp.Classifier(encoder=3).fit(images, [0, 1] * 20)
