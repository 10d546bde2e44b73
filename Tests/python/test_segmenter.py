"""Masks and classes of pixels from Python and the command line."""

import json
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
    model = mrp.Segmenter(progress=False, **(SMALL | {"epochs": 1, "batch_size": 2, "image_size": 16})).fit(data, validation=data).model_
    for mode in ("whole", "slide"):
        maps = model.segment(data, map_mode=mode)
        right = sum(int((ids == data.mask(index)).sum()) for index, ids in enumerate(maps))
        known = sum(int((data.mask(index) != 255).sum()) for index in range(3))
        assert model.evaluate(data, "pixel_accuracy", map_mode=mode) == pytest.approx(right / known)
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


def test_pictures(fitted: mrp.Segmenter, scenes: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("matplotlib")
    masks = scenes[1][:2].copy()
    masks[0, :8] = 255
    figure = fitted.plot_maps(scenes[0][:2], masks)
    assert [axis.get_title() for axis in figure.axes[:3]] == ["image", "predicted", "masks"]
    drawn = figure.axes[2].images[0].get_array()
    image = scenes[0][0].transpose(1, 2, 0) / np.float32(255)
    inside = masks[0] == 0
    np.testing.assert_allclose(np.asarray(drawn)[inside], image[inside], atol=1e-6)
    assert (np.asarray(drawn)[0, ::4] == 0.5).all()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1"]
    assert len(fitted.plot_maps(scenes[0][:1]).axes) == 2


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
    tent = np.minimum(np.arange(1, 33), np.arange(32, 0, -1))
    weights = (tent[:, None] * tent)[..., None]
    for top in (0, 24):
        for left in (0, 24):
            part = fitted.model_.segment_proba(image[None, :, top : top + 32, left : left + 32])[0]
            logits = np.log(part)
            sums[top : top + 32, left : left + 32] += weights * (logits - logits.mean(-1, keepdims=True))
            counts[top : top + 32, left : left + 32] += weights
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


@pytest.mark.parametrize("network", ["resnet", "vit"])
def test_linear_head(scenes: tuple[np.ndarray, np.ndarray], tmp_path: Path, network: str) -> None:
    """Batch norm and a linear layer on the features that `transform` gives; the encoder stays as it is."""
    images, masks = scenes
    own = (
        {"encoder": "resnet18", "width": 4}
        if network == "resnet"
        else {"encoder": "vit_micro", "width": 16, "depth": 1, "heads": 2, "patch_size": 8}
    )
    mae = mrp.MaskedAutoencoder(epochs=1, batch_size=16, warmup_epochs=0, progress=False, random_state=0, decoder_width=16, **own)
    mae.fit(images)
    probe = mrp.Segmenter(encoder=mae, segment_head="linear", frozen_encoder=True, epochs=2, batch_size=16, progress=False).fit(
        images, masks
    )
    tokens = mae.encode(images[:4], features="tokens")
    np.testing.assert_array_equal(probe.model_.encode(images[:4], features="tokens"), tokens)
    probe.save(tmp_path / "probe.safetensors")
    weight = probe.model_.parameter
    rows = tokens[:, 1:] if network == "vit" else tokens
    norm = {name: weight(f"segment_head.norm.{name}") for name in ("weight", "bias", "running_mean", "running_var")}
    rows = (rows - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5) * norm["weight"] + norm["bias"]
    scores = rows @ weight("segment_head.classifier.weight").T + weight("segment_head.classifier.bias")
    side = int(rows.shape[1] ** 0.5)
    at = np.clip((np.arange(32) + 0.5) * side / 32 - 0.5, 0, side - 1)
    near, share = np.minimum(at.astype(int), side - 1), at - np.floor(at)
    enlarge = np.zeros((32, side))
    enlarge[np.arange(32), near] += 1 - share
    enlarge[np.arange(32), np.minimum(near + 1, side - 1)] += share
    scores = np.einsum("yi,nijc,xj->nyxc", enlarge, scores.reshape(4, side, side, -1), enlarge)
    expected = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(probe.predict_proba(images[:4]), expected, atol=2e-5)
    assert (mrp.Segmenter.load(tmp_path / "probe.safetensors").predict(images) == probe.predict(images)).all()


def test_annotations_of_coco(tmp_path: Path) -> None:
    codes = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        from mrp._command_work import png

        (tmp_path / f"photos/{name}.png").write_bytes(png(np.zeros((3, 12, 16), np.float32)))
    square = np.zeros((12, 16), np.uint8, order="F")
    square[2:5, 3:7] = 1
    crowd = np.zeros((12, 16), np.uint8, order="F")
    crowd[:, 12:] = 1
    run_lengths = codes.encode(square)
    run_lengths["counts"] = run_lengths["counts"].decode()
    crowd_counts = [12 * 12, 4 * 12]
    coco = {
        "images": [{"id": 7, "file_name": "a.png", "height": 12, "width": 16}, {"id": 9, "file_name": "b.png", "height": 12, "width": 16}],
        "categories": [{"id": 30, "name": "dog"}, {"id": 5, "name": "cat"}],
        "annotations": [
            {"image_id": 7, "category_id": 30, "segmentation": run_lengths, "area": 12, "iscrowd": 0},
            {"image_id": 7, "category_id": 5, "segmentation": [[0, 0, 10, 0, 10, 8, 0, 8]], "area": 80, "iscrowd": 0},
            {"image_id": 7, "category_id": 5, "segmentation": {"size": [12, 16], "counts": crowd_counts}, "area": 48, "iscrowd": 1},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    data = mrp.MaskFolder(mrp.masks_from_coco(tmp_path / "coco.json", tmp_path / "photos", tmp_path / "voc"))
    assert data.class_names == ["background", "cat", "dog"]
    expected = np.zeros((12, 16), int)
    expected[:8, :10] = 1
    expected[square > 0] = 2
    expected[crowd > 0] = 255
    assert (data.mask(0) == expected).all()
    assert (data.mask(1) == 0).all()
    objects = np.asarray(pytest.importorskip("PIL.Image").open(tmp_path / "voc/SegmentationObject/a.png"))
    assert (objects == np.where(expected == 255, 255, expected)).all()  # the larger one is object 1
    coco["annotations"][0]["category_id"] = 8
    (tmp_path / "wrong.json").write_text(json.dumps(coco))
    with pytest.raises(mrp.FormatError, match="has the category 8, which is not among"):
        mrp.masks_from_coco(tmp_path / "wrong.json", tmp_path / "photos", tmp_path / "other")
    (tmp_path / "wrong.json").write_text("{")
    with pytest.raises(mrp.FormatError, match="is not JSON"):
        mrp.masks_from_coco(tmp_path / "wrong.json", tmp_path / "photos", tmp_path / "other")
    with pytest.raises(mrp.ArgumentError, match="exists"):
        mrp.masks_from_coco(tmp_path / "coco.json", tmp_path / "photos", tmp_path / "voc")
    with pytest.raises(mrp.ArgumentError, match=r"names 'a.png', which"):
        mrp.masks_from_coco(tmp_path / "coco.json", tmp_path, tmp_path / "other")
    (tmp_path / "coco.json").write_text("[]")
    with pytest.raises(mrp.FormatError, match="needs images, annotations and categories"):
        mrp.masks_from_coco(tmp_path / "coco.json", tmp_path, tmp_path / "other")


def test_images_at_their_own_size(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    for name, size in (("a", (20, 30)), ("b", (9, 16))):
        pillow.fromarray(generator.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"{name}.png")
    data = mrp.ImageFolder(tmp_path)
    for index, name in enumerate("ab"):
        expected = np.asarray(pillow.open(tmp_path / f"{name}.png")).transpose(2, 0, 1) / np.float32(255)
        np.testing.assert_allclose(data.image(index), expected, atol=1e-7)


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    options = [f"--{key.replace('_', '-')}={value}" for key, value in SMALL.items() if key != "epochs"]
    assert main(["finetune", "scenes:32", "--task", "segment", "--image-size", "16", "--epochs", "1", "--quiet", *options,
                 "--test", "scenes:8:32", "-o", "s.safetensors"]) == 0  # fmt: skip
    assert "mean IoU" in capsys.readouterr().out
    assert main(["predict", "scenes:3:50", "--model", "s.safetensors", "-o", "maps", "--overlay", "--scores"]) == 0
    # A folder in the layout of VOC is one with masks, whatever text files lie in it.
    small = ["--image-size", "16", "--width", "4", "--pyramid-width", "8", "--batch-size", "2", "--encoder", "resnet18"]
    assert (
        main(["finetune", str(VOC), "--task", "segment", "--split", "train", "--epochs", "1", "--quiet", *small, "-o", "v.safetensors"])
        == 0
    )
    assert mrp.Segmenter.load("v.safetensors").classes_.tolist() == ["background", "cat", "dog"]
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
