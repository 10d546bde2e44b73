"""Point clouds from Python and the command line."""

import json
from pathlib import Path

import mrp
import numpy as np
import pytest
from mrp._command import main

SMALL = {"encoder": "point_micro", "groups": 8, "group_size": 8, "points": 64, "width": 32, "depth": 2, "heads": 2, "batch_size": 16}


@pytest.fixture(scope="module")
def clouds() -> mrp.PointClouds:
    return mrp.PointClouds.generate(60, random_state=4, points=128)


def test_arrays(clouds: mrp.PointClouds) -> None:
    assert clouds.shape == (60, 3, 128, 1)
    assert repr(clouds) == "PointClouds(60 clouds of 128 points, 3 values each, 10 classes)"
    assert clouds.class_names is not None
    assert clouds.class_names[4] == "torus"
    array = np.stack([clouds.points(index) for index in range(60)])
    own = mrp.PointClouds(array.astype(np.float64), clouds.labels)
    assert (own.points(-1) == array[-1]).all()
    assert isinstance(own.subset(20), mrp.PointClouds)
    assert own.with_class_names(clouds.class_names).class_names == clouds.class_names
    for wrong in (array[0], array.astype(complex)):
        with pytest.raises(mrp.ArgumentError, match="expected numbers"):
            mrp.PointClouds(wrong)
    with pytest.raises(mrp.ArgumentError, match="3 labels were given for 60 clouds"):
        mrp.PointClouds(array, [0, 1, 2])
    with pytest.raises(mrp.StateError, match="not point clouds"):
        mrp.PointClouds.points(mrp.Dataset.generate(2), 0)  # type: ignore[arg-type]


def test_estimators(clouds: mrp.PointClouds, tmp_path: Path) -> None:
    array, labels = np.stack([clouds.points(index) for index in range(60)]), np.asarray(clouds.labels)
    mae = mrp.MaskedAutoencoder(epochs=2, random_state=0, progress=False, decoder_depth=1, **SMALL).fit(array)
    assert mae.history_[-1]["loss"] > 0
    features = mae.transform(array)
    assert features.shape[0] == 60
    assert np.isfinite(features).all()
    # The order of a cloud's points does not matter.
    shuffled = np.stack([cloud[np.random.default_rng(0).permutation(128)] for cloud in array])
    np.testing.assert_allclose(mae.transform(shuffled), features, atol=1e-5)
    assert 0 <= mrp.knn_score(mae, array[:40], labels[:40], array[40:], labels[40:], k=3) <= 1
    classifier = mrp.Classifier(encoder=mae, epochs=2, random_state=0, progress=False).fit(array, labels)
    assert classifier.predict(array).shape == (60,)
    classifier.save(tmp_path / "points.safetensors")
    again = mrp.load(tmp_path / "points.safetensors")
    assert isinstance(again, mrp.Classifier)
    assert (again.predict_proba(array) == classifier.predict_proba(array)).all()
    with pytest.raises(mrp.ArgumentError, match="point clouds"):
        again.model_.predict_proba(mrp.Dataset.generate(2))


def test_folder_and_command(
    clouds: mrp.PointClouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for index in range(40):
        folder = tmp_path / "shapes" / ("odd" if index % 2 else "even")
        folder.mkdir(parents=True, exist_ok=True)
        if index < 20:
            np.save(folder / f"{index}.npy", clouds.points(index)[: 100 + index])
        else:
            np.savetxt(folder / f"{index}.xyz", clouds.points(index))
    opened = mrp.PointFolder("shapes")
    assert opened.class_names == ["even", "odd"]
    assert repr(opened) == "PointFolder('shapes', 40 clouds of different numbers of points, 3 values each, 2 classes)"
    assert opened.points(0).shape == (100, 3)
    assert mrp.PointFolder.is_one("shapes")
    assert not mrp.PointFolder.is_one(Path(__file__).parent / "nothing")
    assert not mrp.PointFolder.is_one(Path(__file__).parents[1] / "fixtures/dense/voc")
    options = [f"--{key.replace('_', '-')}={value}" for key, value in SMALL.items()]
    assert main(["pretrain", "shapes", "--epochs=1", "--quiet", "--decoder-depth=1", *options, "-o", "mae.safetensors"]) == 0
    assert main(["finetune", "shapes", "--from=mae.safetensors", "--epochs=1", "--batch-size=16", "--points=64", "--quiet",
                 "-o", "classifier.safetensors"]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["predict", "shapes", "--model=classifier.safetensors", "--points=64", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["predictions"]) == 40
    assert {row["class"] for row in result["predictions"]} <= {"even", "odd"}
    assert main(["encode", "shapes:5:100", "--model=mae.safetensors", "-o", "features.npy"]) == 0
    assert np.load("features.npy").shape[0] == 5
    assert main(["info", "shapes"]) == 0
    assert "point clouds" not in capsys.readouterr().err
