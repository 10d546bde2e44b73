"""Objects and their masks from Python and the command line."""

import csv
from pathlib import Path

import mrp
import numpy as np
import pytest
from mrp._command import main

SMALL = {
    "encoder": "resnet18",
    "width": 8,
    "pyramid_width": 16,
    "batch_size": 16,
    "learning_rate": 0.01,
    "warmup_epochs": 1,
    "augmentation": "flip",
}


@pytest.fixture(scope="module")
def scenes() -> tuple[np.ndarray, np.ndarray]:
    """112 images and the numbers of the objects on them."""
    data = mrp.Dataset.generate_scenes(112, random_state=3, image_size=32, mask_kind="objects")
    assert data.class_names == ["ground", "object"]
    return (255 * data.images()).round().astype(np.uint8), np.stack([data.mask(index) for index in range(112)])


@pytest.fixture(scope="module")
def fitted(scenes: tuple[np.ndarray, np.ndarray]) -> mrp.InstanceSegmenter:
    images, masks = scenes
    return mrp.InstanceSegmenter(progress=False, epochs=12, consistency=1, **SMALL).fit(
        images[:64], masks[:64], unlabeled=images[64:96], validation=(images[96:], masks[96:])
    )


def average_precision(found: list[mrp.Instances], masks: np.ndarray) -> float:
    """COCO's, at an overlap of a half, of instances that do not overlap each other."""
    scored, objects = [], 0
    for each, ids in zip(found, masks, strict=True):
        truth = [ids == number for number in np.unique(ids) if number not in (0, 255)]
        objects += len(truth)
        free = list(range(len(truth)))
        for score, own in zip(each.scores, each.masks, strict=True):
            overlaps = [(own & truth[index]).sum() / (own | truth[index]).sum() for index in free]
            hit = bool(overlaps) and max(overlaps) >= 0.5
            if hit:
                free.pop(int(np.argmax(overlaps)))
            scored.append((-score, len(scored), hit))
    hits = np.cumsum([hit for *_, hit in sorted(scored)])
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / objects
    return float(np.mean([precision[recall >= share].max(initial=0) for share in np.linspace(0, 1, 101)]))


def test_instances(fitted: mrp.InstanceSegmenter, scenes: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, masks = scenes[0][96:], scenes[1][96:]
    found = fitted.predict(images)
    assert len(found) == 16
    for each in found:
        assert each.ids.shape == (32, 32)
        assert (each.scores >= 0.3).all()
        assert (np.diff(each.scores) <= 0).all()
        for own, (left, top, right, bottom) in zip(each.masks, each.boxes, strict=True):
            rows, columns = own.nonzero()
            assert not len(rows) or (left <= columns.min() and right > columns.max() and top <= rows.min() and bottom > rows.max())
    score = fitted.score(images, masks)
    assert score > 0.1
    # Masks may overlap a little, which the map of numbers does not show.
    every = fitted.model_.instances(images, score_threshold=0)
    assert score == pytest.approx(average_precision(every, masks), abs=0.08)
    data = mrp.Dataset(images, masks=masks, mask_kind="objects")
    measured = {name: fitted.model_.evaluate(data, name) for name in ("ap50", "ar_10", "ar_100", "recall", "false_positives")}
    assert measured["ap50"] == score
    assert measured["ar_10"] <= measured["ar_100"] <= 1
    assert 0 < measured["recall"] < 1
    strict = fitted.model_.evaluate(data, "recall", score_threshold=0.9)
    assert strict < measured["recall"]
    fitted.save(tmp_path / "instances.safetensors")
    loaded = mrp.InstanceSegmenter.load(tmp_path / "instances.safetensors")
    assert all((a.ids == b.ids).all() and (a.scores == b.scores).all() for a, b in zip(loaded.predict(images), found, strict=True))
    with pytest.raises(mrp.ArgumentError, match="no segmenter"):
        mrp.Segmenter.load(tmp_path / "instances.safetensors")
    with pytest.raises(mrp.ArgumentError, match="masks are missing"):
        fitted.score(images)
    with pytest.raises(mrp.ArgumentError, match="in arrays"):
        mrp.InstanceSegmenter().fit(data, unlabeled=images)
    with pytest.raises(mrp.ArgumentError, match="must be alike"):
        mrp.InstanceSegmenter().fit(images, masks, unlabeled=images[:, :, :16])
    with pytest.raises(mrp.ArgumentError, match="set mask_kind to objects"):
        fitted.score(mrp.Dataset(images, masks=masks))


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    options = [f"--{key.replace('_', '-')}={value}" for key, value in SMALL.items()]
    assert main(["finetune", "scenes:64", "--task", "instances", "--epochs", "4", "--quiet", *options, "--test", "scenes:8:64",
                 "-o", "i.safetensors"]) == 0  # fmt: skip
    assert "AP50" in capsys.readouterr().out
    assert main(["predict", "scenes:3:70", "--model", "i.safetensors", "-o", "maps", "--score-threshold", "0.05"]) == 0
    assert "by their masks found" in capsys.readouterr().out
    image = np.asarray(pytest.importorskip("PIL.Image").open(tmp_path / "maps/00001.png"))
    images = mrp.Dataset.generate_scenes(3, synthetic_first_image=70)
    expected = mrp.Model.load("i.safetensors").instances(images, score_threshold=0.05)
    assert (image == expected[1].ids).all()
    rows = list(csv.reader((tmp_path / "maps/instances.csv").open()))
    assert rows[0][:3] == ["image", "instance", "score"]
    assert len(rows) == 1 + sum(len(each.scores) for each in expected)
