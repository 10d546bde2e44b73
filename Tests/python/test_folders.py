"""Files of an image folder that are left out are said; their names are bytes; unreadable ones can be passed over everywhere."""

import logging
import os

import mrp
import numpy as np
import pytest
from conftest import TINY
from mrp._command_work import png

QUICK = TINY | {"epochs": 0, "augmentation": "none", "image_size": 8}
PICTURE = png(np.random.default_rng(3).random((3, 8, 8), dtype=np.float32))


@pytest.fixture
def put(tmp_path):
    def write(name, data=PICTURE):
        path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    return write


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("files", "count", "words"),
    [
        (["a/0.png", "b/0.png"], 2, None),
        (["a/0.png", "b/0.png", "a/notes.txt", "a/.hidden.png", "c.txt"], 2, None),
        (
            ["a/0.png", "b/0.png", "a/s/0.png", "a/s/1.png", "b/t/u/2.jpg"],
            2,
            ["3 image files are not used", "3 in folders further down", "a/s/0.png"],
        ),
        (
            ["a/0.png", "b/0.png", "a/1.webp", "a/2.TIF", "b/3.bmp", "b/4.gif", "b/5.tif"],
            2,
            ["5 image files", "1 .bmp, 1 .gif, 2 .tif, 1 .webp"],
        ),
        (["a/0.png", "b/0.png", "x.webp"], 2, ["1 image files", "1 .webp"]),
        (["a/0.png", "b/0.png", "a/s/0.heic"], 2, ["1 in folders further down", "a/s/0.heic"]),
        (["0.png", "1.png", "2.bmp"], 2, ["1 .bmp"]),
    ],
    ids=["clean", "no images", "nested", "formats", "beside", "nested formats", "flat"],
)
def test_what_is_left_out_is_said(put, tmp_path, files, count, words, caplog):
    for name in files:
        put(name)
    assert len(mrp.ImageFolder(tmp_path)) == count
    said = warnings_of(caplog)
    assert len(said) == (words is not None)
    for word in words or []:
        assert word in said[0]


def test_jpeg_by_other_names(put, tmp_path, caplog):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name in ("a.jpe", "b.jfif", "c.JPEG", "d.jpg"):
        image.new("RGB", (8, 8)).save(tmp_path / name, "JPEG")
    assert len(mrp.ImageFolder(tmp_path)) == 4
    assert warnings_of(caplog) == []


def test_images_beside_folders(put, tmp_path, caplog):
    for name in ("a/0.png", "b/0.png", "readme.png"):
        put(name)
    assert "folder_layout" in mrp.options()
    with pytest.raises(mrp.ArgumentError, match=r"1 images beside 2 folders, such as 'readme.png': set folder_layout to classes or flat"):
        mrp.ImageFolder(tmp_path)
    classes = mrp.ImageFolder(tmp_path, folder_layout="classes")
    assert (len(classes), classes.class_names) == (2, ["a", "b"])
    assert "1 beside the class folders, such as" in warnings_of(caplog)[0]
    flat = mrp.ImageFolder(tmp_path, folder_layout="flat")
    assert (len(flat), flat.labels) == (1, None)
    assert "2 in folders further down" in warnings_of(caplog)[1]
    assert mrp.Classifier(**QUICK, folder_layout="classes").fit(tmp_path).classes_.tolist() == ["a", "b"]


def test_a_folder_of_other_formats_says_what_it_holds(put, tmp_path):
    put("a/0.webp")
    with pytest.raises(mrp.FormatError, match=r"no .jpg, .jpeg, .jpe, .jfif or .png files, but 1 .webp: only JPEG and PNG are read"):
        mrp.ImageFolder(tmp_path)


def test_names_are_bytes(put, tmp_path, caplog):
    put(b"a/b\xe4r.png")
    put(b"a/b\xe5r.png")
    put(b"b\xe4r/0.png")
    put(b"b\xe5r/0.png")
    put("é/0.png".encode())
    put(b"a/x\xff/0.png")
    folder = mrp.ImageFolder(tmp_path)
    assert len(folder) == 5
    assert folder.class_names == ["a", r"b\xe4r", r"b\xe5r", "é"]
    assert folder.images().shape == (5, 3, 8, 8)
    assert os.fsencode(folder.image_name(0)) == os.path.join(os.fsencode(tmp_path), b"a/b\xe4r.png")
    with open(folder.image_name(1), "rb") as file:
        assert file.read() == PICTURE
    assert r"x\xff" in warnings_of(caplog)[0]
    inside = mrp.ImageFolder(os.path.join(os.fsencode(tmp_path), b"b\xe4r"))
    assert inside.images().shape == (1, 3, 8, 8)
    classifier = mrp.Classifier(**QUICK).fit(tmp_path)
    classifier.save(tmp_path / "m.safetensors")
    assert mrp.load(tmp_path / "m.safetensors").classes_.tolist() == folder.class_names
    put(b"b\xe4r/1.png", b"no image")
    with pytest.raises(mrp.FormatError, match=r"b\\xe4r/1.png: neither JPEG nor PNG"):
        mrp.ImageFolder(tmp_path).images()


def test_unreadable_images_are_passed_over_in_use(put, tmp_path, caplog):
    random = np.random.default_rng(4)
    for index in range(80):
        data = b"damaged" if index in (3, 64, 79) else png(random.random((3, 8, 8), dtype=np.float32))
        put(f"{'ab'[index % 2]}/{index:02}.png", data)
    whole = [index for index in range(80) if index not in (3, 64, 79)]
    folder, skip = mrp.ImageFolder(tmp_path), {"unreadable_images": "skip", "threads": 1}
    names = [os.path.basename(folder.image_name(index)) for index in range(80)]
    bad = sorted(names.index(f"{index}.png") for index in ("03", "64", "79"))
    classifier = mrp.Classifier(**QUICK, unreadable_images="skip").fit(folder)
    model = classifier.model_
    with pytest.raises(mrp.FormatError, match="neither JPEG nor PNG"):
        model.encode(folder)
    caplog.clear()
    for rows in (model.encode(folder, skip), model.predict_proba(folder, skip), model.encode(folder, skip, features="tokens")):
        missing = np.isnan(rows).reshape(80, -1)
        assert np.flatnonzero(missing.all(1)).tolist() == np.flatnonzero(missing.any(1)).tolist() == bad
    assert len(warnings_of(caplog)) == 3
    assert f"3 of 80 images cannot be read and are left out (numbers {', '.join(map(str, bad))})" in warnings_of(caplog)[0]
    good = tmp_path / "good"
    for index in whole:
        (good / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        os.link(tmp_path / "ab"[index % 2] / f"{index:02}.png", good / "ab"[index % 2] / f"{index:02}.png")
    for metric in ("top1", "loss", "balanced_top1"):
        assert model.evaluate(folder, metric, skip) == pytest.approx(model.evaluate(mrp.ImageFolder(good), metric), rel=1e-6)
    assert model.confusion_matrix(folder, skip).sum() == 77
    mae = mrp.Model(image_size=8, width=16, depth=1, heads=2, patch_size=4)
    mae.pretrain(folder, skip, epochs=0, decoder_width=16, decoder_depth=1, decoder_heads=2)
    shown = mae.reconstruct(folder, skip)
    assert np.flatnonzero(np.isnan(shown.reconstructions).all((1, 2, 3))).tolist() == bad
    assert not shown.masks[bad].any()
    assert np.isfinite(shown.loss)
