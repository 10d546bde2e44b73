"""Masks and classes of pixels from Python and the command line."""

from pathlib import Path

import mrp
import numpy as np
import pytest
from mrp._command import main
from mrp._segmenter import palette

SMALL = {"encoder": "resnet18", "width": 4, "pyramid_width": 8, "epochs": 4, "batch_size": 16, "learning_rate": 0.01, "warmup_epochs": 0}
VOC = Path(__file__).resolve().parents[1] / "fixtures/dense/voc"


@pytest.fixture(scope="module")
def scenes() -> tuple[np.ndarray, np.ndarray]:
    """64 images and masks of the objects on them."""
    data = mrp.Dataset.generate_scenes(64, random_state=3, image_size=32)
    return (255 * data.images()).round().astype(np.uint8), np.stack([data.mask(index) > 0 for index in range(64)]).astype(np.int32)


@pytest.fixture(scope="module")
def fitted(scenes: tuple[np.ndarray, np.ndarray]) -> mrp.Segmenter:
    images, masks = scenes
    return mrp.Segmenter(progress=False, dice_weight=1, pixel_weights="0.2,1", **SMALL).fit(
        images[:48], masks[:48], validation=(images[48:], masks[48:])
    )


def test_arrays_with_masks(scenes: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = scenes
    data = mrp.Dataset(images, masks=masks)
    assert data.has_masks
    assert data.labels is None
    assert data.classes == masks.max() + 1
    assert data.class_names is None
    assert (data.mask(5) == masks[5]).all()
    assert data.image_size(0) == (32, 32)
    named = mrp.Dataset(images).with_masks(masks, classes=9).with_class_names([f"c{i}" for i in range(9)])
    assert named.has_masks
    assert named.class_names == [f"c{i}" for i in range(9)]
    assert named.subset(4).has_masks
    flags = mrp.Dataset(images, masks=masks[:, None] > 0)
    assert flags.classes == 2
    assert (flags.mask(1) == (masks[1] > 0)).all()
    wide = mrp.Dataset(images, masks=np.where(masks == 0, -1, masks).astype(np.int64), ignore_label=-1)
    assert (wide.mask(0) == np.where(masks[0] == 0, -1, masks[0])).all()
    with pytest.raises(mrp.ArgumentError, match="labels and masks"):
        mrp.Dataset(images, np.zeros(64, int), masks=masks)
    with pytest.raises(mrp.ArgumentError, match="expected integers"):
        mrp.Dataset(images, masks=masks / 2)
    with pytest.raises(mrp.ArgumentError, match="the masks are 8 x 32"):
        mrp.Dataset(images, masks=masks[:, :8])


def test_folder() -> None:
    data = mrp.MaskFolder(VOC, split="train")
    assert data.shape == (3, 3, 6, 8)
    assert data.class_names == ["background", "cat", "dog"]
    assert "voc" in repr(data)
    y, x = np.mgrid[:6, :8]
    assert (data.mask(0) == np.where(x == 0, 255, (2 * y + x) % 3)).all()
    assert (data.mask(1) == 255).all()
    with pytest.raises(mrp.FormatError, match=r"gray16.png: pixel \(5, 7\) has the id 300"):
        mrp.MaskFolder(VOC).mask(1)


def test_segmenter(fitted: mrp.Segmenter, scenes: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, masks = scenes[0][48:], scenes[1][48:]
    maps = fitted.predict(images)
    assert maps.shape == (16, 32, 32)
    assert maps.dtype == np.uint16
    counts = np.zeros((len(fitted.classes_),) * 2, np.int64)
    np.add.at(counts, (masks, maps), 1)
    assert (fitted.confusion_matrix(images, masks) == counts).all()
    with np.errstate(invalid="ignore"):
        ious = counts.diagonal() / (counts.sum(0) + counts.sum(1) - counts.diagonal())
    np.testing.assert_allclose(fitted.class_ious(images, masks), ious)
    assert fitted.score(images, masks) == pytest.approx(np.nanmean(ious))
    assert set(np.unique(maps)) == {0, 1}
    shares = np.asarray(fitted.predict_proba(images))
    assert shares.shape == (16, 32, 32, 2)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    assert (shares.argmax(-1) == maps).all()
    assert fitted.model_.evaluate(mrp.Dataset(images, masks=masks), "pixel_accuracy") == pytest.approx((maps == masks).mean())
    fitted.save(tmp_path / "segmenter.safetensors")
    loaded = mrp.Segmenter.load(tmp_path / "segmenter.safetensors")
    assert (loaded.predict(images) == maps).all()
    assert (loaded.classes_ == fitted.classes_).all()
    with pytest.raises(mrp.ArgumentError, match="masks are missing"):
        fitted.score(images)
    with pytest.raises(mrp.ArgumentError, match="no segmenter"):
        mrp.Segmenter._of_model(mrp.Model(encoder="vit_micro"))


def test_sizes_that_differ(fitted: mrp.Segmenter, tmp_path: Path) -> None:
    for name, size in (("a", (20, 30)), ("b", (9, 16))):
        from mrp._command_work import png

        (tmp_path / f"{name}.png").write_bytes(png(np.random.default_rng(0).random((3, *size)).astype(np.float32)))
    maps = fitted.predict(tmp_path)
    assert [part.shape for part in maps] == [(20, 30), (9, 16)]


def test_windows(fitted: mrp.Segmenter) -> None:
    """Windows over an image that is larger than the network's, against the same windows one by one."""
    scene = mrp.Dataset.generate_scenes(1, random_state=7, image_size=56)
    image, mask = scene.images()[0], (scene.mask(0) > 0).astype(np.uint8)
    # 32 pixels with a quarter in common: 0, 24. Scores are averaged before the softmax, which probabilities tell up to a constant.
    sums, counts = np.zeros((56, 56, 2)), np.zeros((56, 56, 1))
    for top in (0, 24):
        for left in (0, 24):
            part = fitted.model_.segment_proba(image[None, :, top : top + 32, left : left + 32])[0]
            logits = np.log(part)
            sums[top : top + 32, left : left + 32] += logits - logits.mean(-1, keepdims=True)
            counts[top : top + 32, left : left + 32] += 1
    scores = np.exp(sums / counts)
    shares = fitted.model_.segment_proba(image[None], map_mode="slide")[0]
    np.testing.assert_allclose(shares, scores / scores.sum(-1, keepdims=True), atol=1e-5)
    maps = fitted.model_.segment(image[None], map_mode="slide")
    assert (maps[0] == shares.argmax(-1)).all()
    data = mrp.Dataset(image[None], masks=mask[None])
    accuracy = fitted.model_.evaluate(data, "pixel_accuracy", map_mode="slide")
    assert accuracy == pytest.approx((maps[0] == mask).mean())
    assert accuracy != fitted.model_.evaluate(data, "pixel_accuracy")
    # An image smaller than a window is mirrored at its edges; one that is much smaller cannot be.
    assert fitted.model_.segment(image[None, :, :20, :40], map_mode="slide").shape == (1, 20, 40)
    with pytest.raises(mrp.ArgumentError, match="10 x 40 is too small for a window of 32 x 32"):
        fitted.model_.segment(image[None, :, :10, :40], map_mode="slide")


def test_training_at_the_images_own_scale(tmp_path: Path) -> None:
    scenes = mrp.Dataset.generate_scenes(16, random_state=7, image_size=56)
    options = {**SMALL, "epochs": 1, "image_size": 32, "augmentation": "random_crop_flip"}
    segmenter = mrp.Segmenter(progress=False, random_state=0, **options).fit(scenes)
    segmenter.save(tmp_path / "s.safetensors")
    again = mrp.Segmenter.load(tmp_path / "s.safetensors")
    assert again.model_.info["libmrp"]["keeps_scale"]
    maps = again.predict(scenes)
    assert (maps == again.model_.segment(scenes, map_mode="slide")).all()
    assert (maps != again.model_.segment(scenes, map_mode="whole")).any()


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    options = [f"--{key.replace('_', '-')}={value}" for key, value in SMALL.items() if key != "epochs"]
    assert main(["finetune", "scenes:32", "--task", "segment", "--image-size", "16", "--epochs", "1", "--quiet", *options,
                 "--test", "scenes:8:32", "-o", "s.safetensors"]) == 0  # fmt: skip
    assert "mean IoU" in capsys.readouterr().out
    assert main(["predict", "scenes:3:50", "--model", "s.safetensors", "-o", "maps", "--overlay", "--scores"]) == 0
    image = pytest.importorskip("PIL.Image").open(tmp_path / "maps/00001.png")
    assert image.mode == "P"
    assert image.size == (32, 32)
    assert image.getpalette()[3:6] == palette(2)[1].tolist()
    expected = mrp.Model.load("s.safetensors").segment(mrp.Dataset.generate_scenes(3, synthetic_first_image=50))
    assert (np.asarray(image) == expected[1]).all()
    assert np.load(tmp_path / "maps/00001.npy").shape == (32, 32, 7)
    overlay = np.asarray(pytest.importorskip("PIL.Image").open(tmp_path / "maps/00001.overlay.png"))
    assert overlay.shape == (32, 32, 3)
    original = (255 * mrp.Dataset.generate_scenes(3, synthetic_first_image=50).images()[1].transpose(1, 2, 0)).round()
    assert (overlay[expected[1] == 0] == original[expected[1] == 0]).all()
    assert "ellipse" in (tmp_path / "maps/labelmap.txt").read_text()
