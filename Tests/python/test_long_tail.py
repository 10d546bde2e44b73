"""Long tails from Python: class_weight, prior, selection, measures, what a file keeps, refusals."""

from pathlib import Path

import mrp
import numpy as np
import pytest

SMALL = {
    "encoder": "vit_micro",
    "image_size": 8,
    "patch_size": 4,
    "width": 16,
    "depth": 1,
    "heads": 2,
    "epochs": 1,
    "batch_size": 8,
    "threads": 1,
}


@pytest.fixture(scope="module")
def tail() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], [24, 12, 4])
    return random.integers(0, 255, (40, 8, 8, 3)).astype(np.uint8), labels


def test_class_weight_is_the_loss_balanced(tail: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    first = mrp.Classifier(class_weight="balanced", **SMALL).fit(*tail)
    second = mrp.Classifier(loss="balanced", **SMALL).fit(*tail)
    assert np.array_equal(first.predict_proba(tail[0]), second.predict_proba(tail[0]))
    assert first.get_params()["class_weight"] == "balanced"
    ours = first.model_.info["libmrp"]
    assert ours["class_counts"] == [24, 12, 4]
    assert ours["prior_exponent"] == 0
    first.save(tmp_path / "model.safetensors")
    assert mrp.load(tmp_path / "model.safetensors").model_.info["libmrp"]["class_counts"] == [24, 12, 4]
    with pytest.raises(mrp.ArgumentError, match="neither None nor 'balanced'"):
        mrp.Classifier(class_weight={"a": 2}, **SMALL).fit(*tail)
    with pytest.raises(mrp.ArgumentError, match="give one of them"):
        mrp.Classifier(class_weight="balanced", loss="logit_adjusted", **SMALL).fit(*tail)


def test_prior_uniform_divides_by_the_shares(tail: tuple[np.ndarray, np.ndarray]) -> None:
    classifier = mrp.Classifier(**SMALL).fit(*tail)
    plain, uniform = classifier.predict_proba(tail[0]), classifier.predict_proba(tail[0], prior="uniform")
    expected = plain / np.array([24, 12, 4])
    np.testing.assert_allclose(uniform, expected / expected.sum(1, keepdims=True), atol=1e-6)
    assert np.array_equal(classifier.predict(tail[0], prior="uniform"), classifier.classes_[uniform.argmax(1)])
    adjusted = mrp.Classifier(loss="logit_adjusted", **SMALL).fit(*tail)
    assert np.array_equal(adjusted.predict_proba(tail[0]), adjusted.predict_proba(tail[0], prior="uniform"))


def test_measures_by_the_number_of_training_images(tail: tuple[np.ndarray, np.ndarray]) -> None:
    classifier = mrp.Classifier(**SMALL).fit(*tail)
    data = mrp.Dataset(tail[0], np.unique(tail[1], return_inverse=True)[1]).with_class_names(["a", "b", "c"])
    each = classifier.model_.class_accuracies(data)
    groups = {"many_above": 20, "few_below": 5}
    found = [classifier.model_.evaluate(data, metric, groups) for metric in ("many_top1", "medium_top1", "few_top1")]
    np.testing.assert_allclose(found, each)
    assert np.isnan(classifier.model_.evaluate(data, "many_top1"))  # none above 100
    with pytest.raises(mrp.ArgumentError, match="above many_above"):
        classifier.model_.evaluate(data, "few_top1", many_above=1, few_below=5)


def test_selection(tail: tuple[np.ndarray, np.ndarray]) -> None:
    assert mrp.long_tail(classes=10, largest=1000, imbalance=100).tolist() == [1000, 599, 359, 215, 129, 77, 46, 27, 16, 10]
    assert sorted(mrp.long_tail(10, 1000, 100, random_state=4)) == sorted(mrp.long_tail(10, 1000, 100))
    data = mrp.Dataset(tail[0], np.unique(tail[1], return_inverse=True)[1]).with_class_names(["a", "b", "c"])
    few = data.select(mrp.long_tail(3, 20, 10))
    assert np.bincount(few.labels).tolist() == [20, 6, 2]
    assert few.class_names == ["a", "b", "c"]
    assert np.bincount(data.select({"c": 3}).labels, minlength=3).tolist() == [0, 0, 3]
    for counts, text in (([1, 2], "has 3"), ([25, 0, 0], "there are 24"), ([0.5, 1, 1], "whole numbers"), ({"d": 1}, "no class 'd'")):
        with pytest.raises(mrp.ArgumentError, match=text):
            data.select(counts)
    with pytest.raises(mrp.ArgumentError, match="no image for the rarest"):
        mrp.long_tail(10, 50, 100)


def test_proco(tail: tuple[np.ndarray, np.ndarray]) -> None:
    classifier = mrp.Classifier(loss="proco", proco_width=16, **SMALL).fit(*tail)
    assert classifier.model_.info["libmrp"]["prior_exponent"] == 0
    assert not [weight for weight in classifier.model_.info["weights"] if "proco" in weight["name"]]
    with pytest.raises(mrp.ArgumentError, match="one class per image"):
        mrp.Classifier(loss="proco", mixup=0.4, **SMALL).fit(*tail)
    with pytest.raises(mrp.ArgumentError, match="proco_width 8 is outside 16"):
        mrp.Classifier(loss="proco", proco_width=8, **SMALL).fit(*tail)
