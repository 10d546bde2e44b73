"""Classes are what they are called: by name in every measure, with the type of their labels through every way in and out of a file."""

import datetime
import json
import logging
import subprocess
import sys

import mrp
import numpy as np
import pytest
from conftest import TINY
from mrp._command_work import png

LEVELS = {"cat": 30, "dog": 120, "fox": 210}
EASY = TINY | {"epochs": 60, "learning_rate": 5e-3, "augmentation": "none"}
QUICK = TINY | {"epochs": 0, "augmentation": "none"}


def shades(names, count, seed=0):
    """`count` images of each class, which its brightness tells, and their names."""
    random = np.random.default_rng(seed)
    y = np.repeat(names, count)
    levels = np.array([LEVELS.get(name, 30) for name in y], np.uint8)
    return levels[:, None, None, None] + random.integers(0, 30, (len(y), 3, 8, 8), dtype=np.uint8), y


def save(folder, names, count, seed=0):
    images, y = shades(names, count, seed)
    for index, (image, name) in enumerate(zip(images, y)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{index}.png").write_bytes(png(image / np.float32(255)))
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("classes")
    return {
        "train": save(root / "train", list(LEVELS), 8),
        "full": save(root / "full", list(LEVELS), 4, seed=1),
        "less": save(root / "less", ["dog", "fox"], 4, seed=1),
        "more": save(root / "more", ["apple", "dog", "fox"], 4, seed=1),
        "other": save(root / "other", ["ant", "bee"], 2),
    }


@pytest.fixture(scope="module")
def learned(places):
    classifier = mrp.Classifier(**EASY).fit(places["train"])
    assert classifier.score(places["full"]) == 1
    return classifier


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# ---- By name


@pytest.mark.parametrize("labelled", ["folder", "arrays", "dataset"])
def test_a_missing_class_shifts_nothing(learned, places, labelled, caplog):
    images, y = shades(["dog", "fox"], 4, seed=1)
    caplog.clear()
    if labelled == "folder":
        data, score = mrp.ImageFolder(places["less"]), learned.score(places["less"])
    elif labelled == "arrays":
        data, score = mrp.Dataset(images, np.repeat([0, 1], 4)).with_class_names(["dog", "fox"]), learned.score(images, y)
    else:
        data = mrp.Dataset(images, np.repeat([1, 0], 4)).with_class_names(["fox", "dog"])  # in another order
        score = learned.score(data)
    model = learned.model_
    assert score == model.evaluate(data) == model.evaluate(data, "top5") == model.evaluate(data, "balanced_top1") == 1
    assert model.evaluate(data, "loss") < 0.9
    np.testing.assert_array_equal(model.confusion_matrix(data), np.diag([0, 4, 4]))
    assert warnings_of(caplog) == []


def test_an_unknown_class_is_wrong_and_said(learned, places, caplog):
    model, data = learned.model_, mrp.ImageFolder(places["more"])
    for value in (learned.score(places["more"]), model.evaluate(data), model.evaluate(data, "top5")):
        assert value == pytest.approx(8 / 12)
    assert model.confusion_matrix(data).sum() == 8
    assert model.evaluate(data, "loss") < 0.9
    said = warnings_of(caplog)
    assert len(said) == 5
    assert all("4 of 12 images have classes (apple) that are none of the model's (cat, dog, fox)" in text for text in said)
    caplog.clear()
    images, y = shades(["apple", "dog"], 2)
    assert learned.score(images, y) == 0.5
    assert "2 of 4" in warnings_of(caplog)[0]
    assert "apple" in warnings_of(caplog)[0]


def test_no_known_class_is_an_error(learned, places):
    for call in (learned.score, lambda path: learned.model_.evaluate(mrp.ImageFolder(path))):
        with pytest.raises(mrp.ArgumentError, match=r"none of the images' classes \(ant, bee\) is one of the model's \(cat, dog, fox\)"):
            call(places["other"])


def test_numbers_are_places_among_names(learned, caplog):
    images, _ = shades(list(LEVELS), 3, seed=1)
    assert learned.score(mrp.Dataset(images, np.repeat([0, 1, 2], 3))) == 1
    assert warnings_of(caplog) == ["the images' classes are numbers, the model's are names: 0 is taken for 'cat' and so on"]


def test_validation_by_name(places, caplog):
    best = mrp.Classifier(**EASY | {"epochs": 20}, restore_best=True).fit(places["train"], validation=places["less"])
    assert [row["top1"] for row in best.history_][-1] == best.score(places["less"]) == 1
    mrp.Classifier(**QUICK).fit(places["train"], validation=places["more"])
    assert sum("held-out images: 4 of 12" in text for text in warnings_of(caplog)) == 1
    with pytest.raises(mrp.ArgumentError, match="none of the images' classes"):
        mrp.Classifier(**QUICK).fit(places["train"], validation=places["other"])
    X, y = shades(["apple", "dog"], 2)
    with pytest.raises(mrp.ArgumentError, match=r"lack, such as .*apple"):
        mrp.Classifier(**QUICK).fit(places["train"], validation=(X, y))


@pytest.mark.parametrize("method", ["knn", "linear"])
def test_probes_by_name(places, method, caplog):
    model, train = (
        mrp.Model(image_size=8, **{key: TINY[key] for key in ("width", "depth", "heads", "patch_size")}),
        mrp.ImageFolder(places["train"]),
    )
    model.pretrain(train, epochs=0, decoder_width=16, decoder_depth=1, decoder_heads=2)
    options = {"knn_k": 3, "threads": 1}
    values = {name: model.probe(train, mrp.ImageFolder(places[name]), method, options) for name in ("full", "less", "more")}
    assert values == {"full": 1, "less": 1, "more": pytest.approx(8 / 12)}
    assert [text for text in warnings_of(caplog) if "none of the reference's (cat, dog, fox)" in text] != []
    assert sum("count as wrong" in text for text in warnings_of(caplog)) == 1
    with pytest.raises(mrp.ArgumentError, match="none of the images' classes"):
        model.probe(train, mrp.ImageFolder(places["other"]), method, options)


def test_command_line_by_name(places, tmp_path):
    options = {"width": 16, "depth": 1, "heads": 2, "patch_size": 4, "batch_size": 8, "epochs": 60, "learning_rate": 5e-3, "threads": 1}
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "mrp", "finetune", places["train"], "--test", places["less"], "--validate", places["less"], "--json"]
    words += ["--augmentation", "none", "-o", tmp_path / "m.safetensors"]
    found = json.loads(subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout)
    assert found["top1"] == found["best"] == 1


def test_a_head_for_other_classes_is_fresh(places, learned, tmp_path):
    learned.save(tmp_path / "m.safetensors")
    kept, fresh = (mrp.Model.load(tmp_path / "m.safetensors") for _ in range(2))
    kept.finetune(mrp.ImageFolder(places["full"]), epochs=0)
    np.testing.assert_array_equal(kept.parameter("head.weight"), learned.model_.parameter("head.weight"))
    fresh.finetune(mrp.ImageFolder(places["more"]), epochs=0)
    assert fresh.info["libmrp"]["class_names"] == ["apple", "dog", "fox"]
    assert not np.array_equal(fresh.parameter("head.weight"), learned.model_.parameter("head.weight"))


# ---- Types of labels

KINDS = {
    "int": [0, 1, 2],
    "int with gaps": [-5, 7, 10],
    "uint8": np.array([0, 1, 2], np.uint8),
    "float": [0.0, 1.0, 3.0],
    "float32": np.array([1, 2, 3], np.float32),
    "bool": [False, True],
    "str": ["ant", "bee", "é"],
    "digits": ["0", "1", "2"],
    "flags as text": ["False", "True"],
    "bytes": [b"ant", b"\xff", b"7"],
    "dates": [datetime.date(2024, 1, 2), datetime.date(2024, 3, 1)],
    "numpy dates": np.array(["2024-01-02T03", "2025-01-02T03"], "datetime64[h]"),
    "nanoseconds": np.array([1, 10**18 + 1], "datetime64[ns]"),
}


class Series:
    """What pandas' Series is to numpy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        values = np.empty(len(self.values), object)
        values[:] = self.values
        return values if any(isinstance(value, str | datetime.date) for value in self.values) else np.asarray(self.values)

    def __len__(self):
        return len(self.values)


def of_pandas(values):
    try:
        from pandas import Series as Real
    except ImportError:
        return Series(values)
    return Real(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", [list, np.asarray, of_pandas], ids=["list", "array", "pandas"])
def test_every_type_of_label_comes_back(kind, way, tmp_path):
    classes = list(KINDS[kind])
    y = way([classes[index % len(classes)] for index in range(12)])
    images = np.zeros((12, 3, 8, 8), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None, None]
    before = mrp.Classifier(**QUICK).fit(images, y)
    before.save(tmp_path / "m.safetensors")
    after = mrp.load(tmp_path / "m.safetensors")
    assert after.classes_.dtype == before.classes_.dtype
    np.testing.assert_array_equal(after.classes_, before.classes_)
    assert list(before.classes_) == sorted(np.datetime64(c) if isinstance(c, datetime.date) else c for c in classes)
    predicted = after.predict(images)
    assert predicted.dtype == before.classes_.dtype
    share = before.score(images, y)
    assert after.score(images, y) == share == np.mean([np.asarray(a == b) for a, b in zip(predicted, np.asarray(list(np.asarray(y))))])
    assert after.score(images, predicted) == 1


@pytest.mark.parametrize("names", [["0", "1", "2"], ["False", "True"], ["10", "9"], ["2024-01-01", "x"], ["1.0", "2.0"]])
def test_folders_are_texts(names, tmp_path):
    save(tmp_path / "f", names, 2)
    before = mrp.Classifier(**QUICK).fit(tmp_path / "f")
    before.save(tmp_path / "m.safetensors")
    after = mrp.load(tmp_path / "m.safetensors")
    assert after.classes_.tolist() == before.classes_.tolist() == sorted(names)
    assert after.score(tmp_path / "f") == before.score(tmp_path / "f")


def test_torch_labels(images, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for y in (torch.arange(40) % 3, (torch.arange(40) % 2).bool(), torch.arange(40).float() % 2):
        before = mrp.Classifier(**QUICK).fit(torch.tensor(images), y)
        before.save(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(mrp.load(tmp_path / "m.safetensors").classes_, np.unique(y.numpy()))


def test_files_of_before_are_guessed(images, tmp_path):
    classifier = mrp.Classifier(**QUICK).fit(images, np.arange(40) % 2 + 3)
    classifier.save(tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    assert data.count(b"label_type") == 1
    (tmp_path / "m.safetensors").write_bytes(data.replace(b"label_type", b"label_kind"))
    assert mrp.load(tmp_path / "m.safetensors").classes_.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("y", "word"),
    [
        ([1, "a"] * 20, "mixes"),
        (np.array([1, "a"] * 20, object), "mixes"),
        ([b"a", "a"] * 20, "mixes"),
        ([datetime.date(2024, 1, 1), "a"] * 20, "mixes"),
        ([1.0, float("nan")] * 20, "NaN"),
        (np.array([1, None] * 20, object), "None"),
        ([None] * 40, "None"),
        ([0.5, 1.5] * 20, "continuous"),
        ([float("inf"), 1] * 20, "continuous"),
        (np.array(["2024", "NaT"] * 20, "datetime64[D]"), "NaT"),
        (np.ones(40, complex), "complex"),
        (np.zeros((40, 2), int), "shape"),
        ([{"a": 1}] * 40, "no label"),
        (["a", ""] * 20, "empty"),
        (["a", "b\nc"] * 20, "line break"),
        ([1, 2] * 19, "38|40"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_labels_that_are_none(images, y, word):
    with pytest.raises(ValueError, match=word):
        mrp.Classifier(**QUICK).fit(images, y)


@pytest.mark.parametrize(
    ("y", "other"), [([0, 1], ["0", "1"]), (["a", "b"], [0, 1]), (["a", "b"], [b"a", b"b"]), ([True, False], ["True", "False"])]
)
def test_labels_of_another_kind_raise(images, y, other):
    classifier = mrp.Classifier(**QUICK).fit(images, y * 20)
    mae = mrp.MaskedAutoencoder(**QUICK).fit(images)
    for call in (
        lambda: classifier.score(images, other * 20),
        lambda: mrp.Classifier(**QUICK).fit(images, y * 20, validation=(images, other * 20)),
        lambda: mrp.knn_score(mae, images, y * 20, images, other * 20, k=3),
    ):
        with pytest.raises(mrp.ArgumentError, match="y holds"):
            call()


def test_equal_numbers_of_other_types_are_equal(images):
    classifier = mrp.Classifier(**QUICK).fit(images, np.arange(40) % 2)
    wanted = classifier.score(images, np.arange(40) % 2)
    for kind in (float, np.float32, np.uint8, bool):
        assert classifier.score(images, (np.arange(40) % 2).astype(kind)) == wanted


# ---- More outputs than classes, fewer images than classes


@pytest.mark.parametrize("y", [[0, 1, 2], [0, 4, 2], ["a", "b", "c"], [10, 20, 30], [True, False, True]])
def test_more_outputs_than_classes(images, y, tmp_path):
    y = np.array([y[index % 3] for index in range(40)])
    classifier = mrp.Classifier(**TINY, classes=10).fit(images, y)
    assert classifier.model_.classes == 10
    columns = 10 if y.dtype.kind == "i" and y.max() < 10 else len(np.unique(y))
    classifier.save(tmp_path / "m.safetensors")
    for one in (classifier, mrp.load(tmp_path / "m.safetensors")):
        assert set(np.unique(y)) <= set(one.classes_)
        assert one.predict_proba(images).shape == (40, columns)
        np.testing.assert_allclose(one.predict_proba(images).sum(1), 1, rtol=1e-5)
        assert one.score(images, y) == np.mean(one.predict(images) == y)
    data = mrp.Dataset(images, np.unique(y, return_inverse=True)[1]).with_class_names(np.unique(y))
    assert classifier.model_.evaluate(data) == pytest.approx(classifier.score(images, y))


def test_a_subset_keeps_every_class(caplog):
    y = np.array([0] * 90 + [1] * 9 + [2])
    dataset = mrp.Dataset(np.zeros((100, 1, 8, 8), np.uint8), y).with_class_names(["a", "b", "c"])
    for count in (3, 4, 10, 50):
        assert set(dataset.subset(count).labels) == {0, 1, 2}
        assert len(dataset.subset(count)) == count
    assert warnings_of(caplog) == []
    assert dataset.subset(2).class_names == ["a", "b", "c"]
    assert "has none of 1 classes" in warnings_of(caplog)[0]
    typed = mrp.Dataset(np.zeros((4, 1, 8, 8), np.uint8), [0, 1, 0, 1]).with_class_names([2.0, 3.0]).subset(2)
    assert mrp.Classifier(**QUICK).fit(typed).classes_.tolist() == [2.0, 3.0]
    with pytest.raises(mrp.ArgumentError, match="same name"):
        dataset.with_class_names(["a", "a", "b"])
