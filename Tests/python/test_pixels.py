"""Pixels have units: ranges of values, depths of Pillow images, order of the axes, what reconstructions show, photographs."""

import io
import logging
import struct

import mrp
import numpy as np
import pytest
from conftest import TINY

QUICK = TINY | {"epochs": 0, "augmentation": "none"}


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# ---- Ranges

SHARES = np.random.default_rng(1).random((12, 3, 8, 8))
RANGES = {
    "bytes": np.rint(SHARES * 255).astype(np.uint8),
    "16 bits": np.rint(SHARES * 65535).astype(np.uint16),
    "8 bits in 16": np.rint(SHARES * 255).astype(np.uint16),
    "0 to 1": SHARES.astype(np.float32),
    "0 to 255": (SHARES * 255).astype(np.float32),
    "-1 to 1": (2 * SHARES - 1).astype(np.float32),
    "standardised": ((SHARES - 0.45) / 0.25).astype(np.float32),
    "0 to 65535": (SHARES * 65535).astype(np.float32),
}
SAME = ({"bytes", "16 bits", "0 to 1"}, {"8 bits in 16"}, {"0 to 255"}, {"0 to 65535"})
SIGNED = {"-1 to 1", "standardised"}
SMALL = {"bytes", "16 bits", "0 to 1"}


def verdict(trained, given):
    """'fits', 'warns' or 'refuses'."""
    if trained == given or any({trained, given} <= group for group in SAME) or {trained, given} <= SIGNED:
        return "fits"
    return "warns" if {trained, given} <= SIGNED | SMALL else "refuses"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    for name, images in RANGES.items():
        mrp.MaskedAutoencoder(**QUICK).fit(images).save(folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("own", RANGES)
def test_every_pair_of_ranges(trained, own, caplog):
    model = mrp.Model.load(trained / f"{own}.safetensors")
    for given, images in RANGES.items():
        caplog.clear()
        wanted = verdict(own, given)
        if wanted == "refuses":
            with pytest.raises(mrp.ArgumentError, match=r"the images are .* the model was trained on .*: their values are .* times as"):
                model.encode(images)
            continue
        model.encode(images)
        assert len(warnings_of(caplog)) == (wanted == "warns"), (given, warnings_of(caplog))
        if wanted == "warns":
            assert "the images are" in warnings_of(caplog)[0]


def test_ranges_are_named(trained):
    model = mrp.Model.load(trained / "bytes.safetensors")
    assert model.info["libmrp"]["pixels"] == {"type": "uint8", "unit": 255, "low": 0, "high": 1}
    with pytest.raises(
        mrp.ArgumentError, match=r"are float32 0\.\d+ ... 25\d.*, the model was trained on uint8 0 ... 255: their values are 25\d"
    ):
        model.encode(RANGES["0 to 255"])
    with pytest.raises(mrp.ArgumentError, match=r"uint16 0 ... 255, the model was trained on uint8 0 ... 255"):
        model.encode(RANGES["8 bits in 16"])


def test_every_use_compares(trained, caplog):
    images, labels = RANGES["0 to 255"], np.arange(12) % 3
    mae = mrp.load(trained / "bytes.safetensors")
    classifier = mrp.Classifier(mae, **{key: QUICK[key] for key in ("epochs", "batch_size", "threads", "progress")}).fit(
        RANGES["bytes"], labels
    )
    model = classifier.model_
    for call in (
        lambda: mae.transform(images),
        lambda: mae.reconstruct(images),
        lambda: model.predict_proba(images),
        lambda: model.evaluate(mrp.Dataset(images, labels)),
        lambda: model.confusion_matrix(mrp.Dataset(images, labels)),
        lambda: model.attention(images),
        lambda: model.finetune(mrp.Dataset(images, labels), epochs=0),
        lambda: mae.model_.pretrain(images, epochs=0),
        lambda: model.probe(mrp.Dataset(RANGES["bytes"], labels), mrp.Dataset(images, labels), knn_k=3),
    ):
        with pytest.raises(mrp.ArgumentError, match="trained on uint8"):
            call()
    caplog.clear()
    model.encode(images, pixel_check="warn")
    assert len(warnings_of(caplog)) == 1
    model.encode(images, pixel_check="ignore")
    assert len(warnings_of(caplog)) == 1


def test_few_dark_images_are_a_doubt(trained, caplog):
    model = mrp.Model.load(trained / "0 to 255.safetensors")
    dark = np.full((2, 3, 8, 8), 1, np.float32)
    model.encode(dark)
    assert "as small" in warnings_of(caplog)[0]
    model.encode(np.zeros((20, 3, 8, 8), np.float32))  # black is black in all units
    assert len(warnings_of(caplog)) == 1


def test_units_of_older_files_follow_from_the_mean(trained, tmp_path):
    data = (trained / "bytes.safetensors").read_bytes()
    (tmp_path / "old.safetensors").write_bytes(data.replace(b"pixels", b"pixelz"))
    model = mrp.Model.load(tmp_path / "old.safetensors")
    model.encode(RANGES["0 to 1"])
    with pytest.raises(mrp.ArgumentError, match=r"trained on values of about .* .by its mean and deviation"):
        model.encode(RANGES["0 to 255"])


def test_weights_without_mean_and_deviation_say_so(trained, tmp_path):
    from mrp._torch import read_floats, write_floats

    source = mrp.Model.load(trained / "bytes.safetensors")
    source.save(tmp_path / "timm.safetensors", names="timm")
    write_floats(str(tmp_path / "bare.safetensors"), read_floats(str(tmp_path / "timm.safetensors")))
    sizes = {"heads": 2, "decoder_heads": 2, "image_size": 8}
    bare = mrp.Model.load(tmp_path / "bare.safetensors", **sizes)
    assert any("mean and deviation" in note for note in bare.notes)
    known = mrp.Model.load(tmp_path / "bare.safetensors", mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), **sizes)
    assert not any("mean and deviation" in note for note in known.notes)
    assert known.info["libmrp"]["std"] == [0.2, 0.2, 0.2]


# ---- Pillow

RAMP = (np.arange(64)[:, None] * np.ones((1, 64)) * 1000).astype(np.uint16)  # 0 ... 63000 of 65535


def pillow():
    return pytest.importorskip("PIL.Image", reason="Pillow is not installed")


@pytest.mark.parametrize("mode", ["I;16", "I", "I;16B", "F", "I;16 beside L", "I beside RGB", "I;16B beside I"])
def test_depth_of_pillow_images(mode):
    image = pillow()
    deep = image.fromarray(RAMP)
    shallow = image.fromarray((RAMP / 257).astype(np.uint8))
    pictures = {
        "I;16": lambda: [deep],
        "I": lambda: [deep.convert("I")],
        "I;16B": lambda: [image.frombytes("I;16B", (64, 64), RAMP.astype(">u2").tobytes())],
        "F": lambda: [image.fromarray(RAMP.astype(np.float32) / 65535)],
        "I;16 beside L": lambda: [deep, shallow],
        "I beside RGB": lambda: [deep.convert("I"), shallow.convert("RGB")],
        "I;16B beside I": lambda: [image.frombytes("I;16B", (64, 64), RAMP.astype(">u2").tobytes()), deep.convert("I")],
    }[mode]()
    images = mrp.Dataset(pictures).images()
    assert images.shape == (len(pictures), 3 if "RGB" in mode else 1, 64, 64)
    assert images[0].mean() == pytest.approx(RAMP.mean() / 65535, abs=1e-4)
    assert len(np.unique(images[0])) == 64
    assert images[-1].mean() == pytest.approx(RAMP.mean() / 65535, abs=3e-3)


def test_pillow_and_files_have_one_depth(tmp_path):
    """16-bit PNG files in a folder are what Pillow's images of them are."""
    image = pillow()
    image.fromarray(RAMP).save(tmp_path / "a.png")
    image.fromarray((RAMP / 257).astype(np.uint8)).save(tmp_path / "b.png")
    with image.open(tmp_path / "a.png") as a, image.open(tmp_path / "b.png") as b:
        np.testing.assert_allclose(mrp.Dataset([a, b]).images(), mrp.ImageFolder(tmp_path, channels=1).images(), atol=1e-7)


def test_pillow_images_that_are_refused():
    image = pillow()
    with pytest.raises(mrp.ArgumentError, match="modes F, L"):
        mrp.Dataset([image.new("F", (8, 8)), image.new("L", (8, 8))])
    for value in (-1, 65536):
        with pytest.raises(mrp.ArgumentError, match=f"values {value} ... {value}, 0 ... 65535"):
            mrp.Dataset([image.new("I", (8, 8), value)])
    assert mrp.Dataset([image.new(mode, (8, 8)) for mode in ("1", "L", "LA")]).shape == (3, 1, 8, 8)
    assert mrp.Dataset([image.new(mode, (8, 8)) for mode in ("P", "RGBA", "CMYK", "HSV", "L")]).shape == (5, 3, 8, 8)


# ---- Order of the axes


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((32, 32, 1), ["one image of 1 channels (32 x 32)", "32 gray images (32 x 1)"]),
        ((32, 32, 3), ["one image of 3 channels", "32 gray images (32 x 3)"]),
        ((5, 3, 3, 103), ["3 channels of 3 x 103", "103 channels of 3 x 3"]),
        ((5, 4, 4, 200), ["4 channels of 4 x 200", "200 channels of 4 x 4"]),
        ((5, 200, 3, 3), ["200 channels of 3 x 3", "3 channels of 200 x 3"]),
        ((5, 3, 8, 3), ["NCHW", "NHWC"]),
        ((5, 9, 9, 9), ["NCHW", "NHWC"]),
        ((5, 7, 8, 9), ["NCHW", "NHWC"]),
        ((5, 1, 1, 50), ["NCHW", "NHWC"]),
    ],
    ids=str,
)
def test_ambiguous_shapes_name_both_readings(shape, words):
    with pytest.raises(mrp.ArgumentError) as caught:
        mrp.Dataset(np.zeros(shape, np.uint8))
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ((5, 3, 8, 8), (5, 3, 8, 8)),
        ((5, 8, 8, 3), (5, 3, 8, 8)),
        ((5, 3, 32, 48), (5, 3, 32, 48)),
        ((5, 1, 8, 20), (5, 1, 8, 20)),
        ((5, 9, 9, 103), (5, 103, 9, 9)),
        ((5, 103, 9, 9), (5, 103, 9, 9)),
        ((5, 8, 9), (5, 1, 8, 9)),
        ((1, 8, 9), (1, 1, 8, 9)),
    ],
    ids=str,
)
def test_clear_shapes(shape, read):
    assert mrp.Dataset(np.zeros(shape, np.uint8)).shape == read


def test_three_planes_are_said(caplog):
    assert mrp.Dataset(np.zeros((3, 8, 9), np.uint8)).shape == (3, 1, 8, 9)
    assert "3 gray images" in warnings_of(caplog)[0]
    assert mrp.Dataset(np.zeros((5, 8, 9), np.uint8)).shape == (5, 1, 8, 9)
    assert len(warnings_of(caplog)) == 1


# ---- What reconstructions show


@pytest.mark.parametrize("standardised", [True, False])
def test_reconstructions_without_a_leak(images, standardised):
    """Hidden pixels that are raised do not move what is shown of them, but for the form that says so."""
    mask = np.array([[1, 0], [0, 1]])
    mae = mrp.MaskedAutoencoder(**TINY, norm_pix_loss=standardised).fit(images)
    a = (images[:4] / 255 * 0.5).astype(np.float32)
    b = a.copy()
    for block in (np.s_[:, :, :4, :4], np.s_[:, :, 4:, 4:]):
        b[block] += 0.3

    def shown(pictures, **options):
        return mae.model_.reconstruct(pictures, mask=mask, threads=1, **options).reconstructions[:, :, :4, :4]

    moved = {kind: float((shown(b, patch_statistics=kind) - shown(a, patch_statistics=kind)).mean()) for kind in ("own", "visible")}
    assert moved["visible"] == pytest.approx(0, abs=1e-6)
    assert moved["own"] == pytest.approx(0.3 if standardised else 0, abs=1e-3)
    visible = mae.model_.reconstruct(a, mask=mask, threads=1, patch_statistics="visible")
    np.testing.assert_array_equal(visible.reconstructions[:, :, :4, 4:], visible.images[:, :, :4, 4:])
    assert visible.loss == mae.model_.reconstruct(a, mask=mask, threads=1).loss


# ---- Photographs


def photograph(orientation, order="<"):
    """A JPEG of 8 x 16 pixels whose upper left quarter is bright, with that number in its EXIF block."""
    image = pillow()
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:4, :8] = 250
    data = io.BytesIO()
    image.fromarray(pixels).save(data, "JPEG", quality=95, subsampling=0)
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    block = b"Exif\0\0" + tiff
    raw = data.getvalue()
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + raw[2:]


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_photographs_stand_upright(tmp_path, order):
    image = pillow()
    from PIL import ImageOps

    for orientation in range(10):
        path = tmp_path / str(orientation) / "a.jpg"
        path.parent.mkdir()
        path.write_bytes(photograph(orientation, order))
        with image.open(path) as stored:
            upright = np.asarray(ImageOps.exif_transpose(stored))
            lying = np.asarray(stored)
            listed = mrp.Dataset([stored]).images()[0]
        found = mrp.ImageFolder(path.parent)
        assert found.shape == (1, 3, *upright.shape[:2])
        np.testing.assert_allclose(found.images()[0], upright.transpose(2, 0, 1) / 255, atol=0.02)
        np.testing.assert_allclose(listed, upright.transpose(2, 0, 1) / 255, atol=1e-6)
        kept = mrp.ImageFolder(path.parent, exif_orientation=False)
        np.testing.assert_allclose(kept.images()[0], lying.transpose(2, 0, 1) / 255, atol=0.02)


def test_broken_exif_is_no_orientation(tmp_path):
    good = photograph(6)
    start = good.index(b"Exif\0\0") + 6
    for place in range(start, start + 26):
        for value in (0, 255):
            (tmp_path / "a.jpg").write_bytes(good[:place] + bytes([value]) + good[place + 1 :])
            assert mrp.ImageFolder(tmp_path).images().shape[2:] in ((8, 16), (16, 8))
