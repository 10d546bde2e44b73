"""Label trees: classes 'coarse/fine', answers at a level, fine labels by clusters."""

import json

import mrp
import numpy as np
import pytest
from conftest import TINY
from mrp import _command

FINE = np.array(["animal/cat", "animal/dog", "vehicle/car", "vehicle/ship"])


@pytest.fixture
def names(images):
    return FINE[np.arange(len(images)) % 4]


@pytest.fixture
def fine(images, names):
    return mrp.Classifier("vit_mini", **TINY).fit(images, names)


def coarse(names):
    return np.array([name.split("/")[0] for name in names])


def test_a_fine_classifier_answers_at_a_level(quiet, fine, images, names):
    shares = fine.predict_proba(images)
    assert fine.classes_.tolist() == FINE.tolist()
    fine.set_params(label_level=1)
    assert fine.classes_.tolist() == ["animal", "vehicle"]
    summed = shares.reshape(-1, 2, 2).sum(2)
    np.testing.assert_allclose(fine.predict_proba(images), summed, atol=1e-6)
    assert set(fine.predict(images)) <= {"animal", "vehicle"}
    expected = np.mean(fine.classes_[summed.argmax(1)] == coarse(names))
    assert fine.score(images, names) == fine.score(images, coarse(names)) == expected
    assert fine.score(mrp.Dataset(images, np.arange(40) % 4).with_class_names(FINE)) == pytest.approx(expected)
    assert fine.model_.confusion_matrix(mrp.Dataset(images, np.arange(40) % 4), label_level=1).shape == (2, 2)
    assert fine.model_.class_names(label_level=1) == ["animal", "vehicle"]
    with pytest.raises(mrp.ArgumentError, match="label_level 3 is deeper"):
        fine.set_params(label_level=3).predict(images)


def test_training_at_a_level(quiet, fine, images, names):
    above = mrp.Classifier("vit_mini", label_level=1, **TINY).fit(images, names, validation=(images, names))
    plain = mrp.Classifier("vit_mini", **TINY).fit(images, coarse(names))
    np.testing.assert_array_equal(above.predict_proba(images), plain.predict_proba(images))
    assert above.classes_.tolist() == plain.classes_.tolist() == ["animal", "vehicle"]
    assert plain.score(images, names) == above.score(images, names)  # finer labels than it has
    options = {name: value for name, value in TINY.items() if name in ("threads", "batch_size", "epochs", "progress")}
    again = mrp.Classifier(fine, label_level=1, **options).fit(images, names)
    assert again.predict_proba(images).shape == (40, 2)
    with pytest.raises(mrp.ArgumentError, match="label_level 2"):
        mrp.Classifier(fine, label_level=2, **options).fit(images, coarse(names))


def test_clusters(quiet, fine, images):
    labels = np.arange(40) % 2
    data = mrp.Dataset(images, labels).with_class_names(["animal", "vehicle"]).cluster(fine, per_class=4)
    assert data.class_names[3:5] == ["animal/3", "vehicle/0"]
    assert (data.labels // 4 == labels).all()
    assert np.bincount(data.labels).min() >= 2
    assert (data.labels == mrp.Dataset(images, labels).cluster(fine.model_, 4, threads=3).labels).all()
    assert mrp.Dataset(images).cluster(fine, per_class=3).class_names == ["0", "1", "2"]
    with pytest.raises(mrp.ArgumentError, match="per_class 21 is above the 20 images of class '0'"):
        mrp.Dataset(images, labels).cluster(fine, per_class=21)


def test_folders_and_the_command_line(tmp_path, images, capsys):
    from PIL import Image

    for index, image in enumerate(images):
        folder = tmp_path / "tree" / FINE[index % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{index}.png")
    tree = mrp.ImageFolder(tmp_path / "tree")
    assert tree.class_names == FINE.tolist()
    model = str(tmp_path / "fine.safetensors")
    mrp.Classifier("vit_mini", **TINY).fit(tree).save(model)
    capsys.readouterr()
    assert _command.main(["predict", str(tmp_path / "tree"), "--model", model, "--label-level", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["class"] for row in found["predictions"]} <= {"animal", "vehicle"}
    assert found["top1"] == pytest.approx(mrp.Model.load(model).evaluate(tree, label_level=1))
