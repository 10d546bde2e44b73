"""The estimators: what they return, keep, save and promise to scikit-learn."""

import copy
import pickle

import mrp
import numpy as np
import pytest
from conftest import RUN, TINY


def test_masked_autoencoder(mae, images):
    assert mae.transform(images).shape == (40, 16)
    assert mae.transform(images).dtype == np.float32
    assert mae.encode(images, features="cls").shape == (40, 16)
    assert mae.encode(images, features="tokens").shape == (40, 5, 16)
    np.testing.assert_allclose(mae.encode(images, features="tokens")[:, 1:].mean(1), mae.transform(images), atol=1e-5)
    np.testing.assert_allclose(mae.encode(images, features="tokens")[:, 0], mae.encode(images, features="cls"), atol=1e-6)
    assert not np.array_equal(mae.encode(images, layer=1), mae.transform(images))
    assert mae.score(images) < 0
    assert mae.score(images) == mae.score(images)
    with pytest.raises(mrp.ArgumentError, match="layer"):
        mae.encode(images, layer=2)


def test_training_lowers_the_loss():
    images = mrp.Dataset.generate(64, image_size=16).images()
    mae = mrp.MaskedAutoencoder(**TINY | {"epochs": 30, "learning_rate": 3e-3}).fit(images)
    assert mae.history_[-1]["loss"] < 0.9 * mae.history_[0]["loss"]


def test_classifier_learns():
    labels = np.arange(64) % 2
    images = np.full((64, 1, 8, 8), 0.5, np.float32) + np.float32(0.3) * (labels[:, None, None, None] - 0.5)
    options = TINY | {"epochs": 20, "learning_rate": 3e-3, "augmentation": "none", "mean": 0.5, "std": 0.5}
    classifier = mrp.Classifier(**options).fit(images, labels)
    assert classifier.score(images, labels) == 1
    assert classifier.model_.evaluate(mrp.Dataset(images, labels)) == 1


def test_history(mae):
    assert [row["epoch"] for row in mae.history_] == [1, 2]
    assert [row["step"] for row in mae.history_] == [5, 10]
    for row in mae.history_:
        assert row["phase"] == "pretrain"
        assert np.isfinite([row[key] for key in ("loss", "learning_rate", "images_per_second", "seconds")]).all()


def test_fractions_of_epochs(images):
    assert [row["step"] for row in mrp.MaskedAutoencoder(**TINY | {"epochs": 1.4}).fit(images).history_] == [5, 7]
    assert mrp.MaskedAutoencoder(**TINY | {"epochs": 0}).fit(images).history_ == []


@pytest.mark.parametrize("names", [[0, 1, 2, 3], [10, 20, 30, 40], ["ant", "bee", "cat", "dog"], [True, False]])
def test_labels_of_any_kind(images, names):
    y = np.array([names[index % len(names)] for index in range(40)])
    classifier = mrp.Classifier(**TINY).fit(images, y)
    np.testing.assert_array_equal(classifier.classes_, np.unique(y))
    probabilities = classifier.predict_proba(images)
    assert probabilities.shape == (40, len(names))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    predicted = classifier.predict(images)
    np.testing.assert_array_equal(predicted, classifier.classes_[probabilities.argmax(1)])
    assert classifier.score(images, y) == np.mean(predicted == y)
    assert predicted.dtype == y.dtype


def test_score_agrees_with_the_library(classifier, images, labels):
    dataset = mrp.Dataset(images, labels)
    assert classifier.score(dataset) == pytest.approx(classifier.model_.evaluate(dataset, "top1"))
    assert classifier.score(images, labels) == classifier.score(dataset)
    assert classifier.model_.evaluate(dataset, "loss") > 0


def test_pretrained_encoder_is_copied(mae, images, labels, tmp_path):
    before = mae.transform(images)
    mae.save(tmp_path / "encoder.safetensors")
    results = [
        mrp.Classifier(encoder, **RUN).fit(images, labels).predict_proba(images)
        for encoder in (mae, mae.model_, tmp_path / "encoder.safetensors", str(tmp_path / "encoder.safetensors"))
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    np.testing.assert_array_equal(mae.transform(images), before)
    fresh = mrp.Classifier(**TINY).fit(images, labels).predict_proba(images)
    assert not np.array_equal(fresh, results[0])
    with pytest.raises(mrp.ArgumentError, match="depth"):
        mrp.Classifier(mae, depth=2, **RUN).fit(images, labels)
    with pytest.raises(mrp.NotFittedError):
        mrp.Classifier(mrp.MaskedAutoencoder(), **RUN).fit(images, labels)
    with pytest.raises(mrp.ArgumentError, match="vit_tiny"):
        mrp.Classifier("vit_tyni", **RUN).fit(images, labels)


def test_folder_names_are_classes(folder):
    dataset = mrp.ImageFolder(folder)
    classifier = mrp.Classifier(**TINY | {"image_size": 8}).fit(dataset)
    assert classifier.classes_.tolist() == ["cat", "dog"]
    assert set(classifier.predict(dataset)) <= {"cat", "dog"}
    assert 0 <= classifier.score(dataset) <= 1


def test_reconstruct(mae, images):
    result = mae.reconstruct(images)
    assert result.images.shape == result.reconstructions.shape == images.shape
    assert result.masks.shape == (40, 4)
    assert result.masks.dtype == bool
    np.testing.assert_array_equal(result.masks.sum(1), 3)
    assert np.isfinite(result.reconstructions).all()
    assert result.loss == pytest.approx(-mae.score(images))
    np.testing.assert_allclose(result.images, images / np.float32(255), atol=1e-5)
    hidden = result.masks.reshape(40, 1, 2, 2).repeat(4, 2).repeat(4, 3)
    visible = np.broadcast_to(~hidden, images.shape)
    np.testing.assert_allclose(result.reconstructions[visible], result.images[visible], atol=1e-6)
    assert not np.allclose(result.reconstructions[~visible], result.images[~visible], atol=1e-3)


@pytest.mark.parametrize("shape", [(4,), (2, 2), (40, 4), (40, 2, 2)])
@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_given_masks(mae, images, shape, kind):
    mask = np.zeros(shape, kind)
    mask.reshape(-1, 4)[:, 1:3] = 1
    np.testing.assert_array_equal(mae.reconstruct(images, mask=mask).masks, np.broadcast_to([False, True, True, False], (40, 4)))


@pytest.mark.parametrize("mask", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1], [0, 1, 2, 0], [0.5] * 4, [-1, 0, 0, 1], [[0, 1, 0, 1]] * 39])
def test_masks_that_do_not_fit(mae, images, mask):
    with pytest.raises(mrp.ArgumentError):
        mae.reconstruct(images, mask=mask)


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 8, 8), (13, 8, 8), (3, 8, 16), (2, 12, 8)])
def test_images_of_any_shape(shape):
    images = np.random.default_rng(0).random((12, *shape), dtype=np.float32)
    dataset = mrp.Dataset(images, layout="NCHW")
    mae = mrp.MaskedAutoencoder(**TINY).fit(dataset)
    assert mae.model_.image_shape == shape
    assert mae.reconstruct(dataset).images.shape == images.shape
    assert mrp.Classifier(mae, **RUN).fit(mrp.Dataset(images, np.arange(12) % 2, layout="NCHW")).predict(dataset).shape == (12,)


def test_other_sizes_are_resized(mae):
    assert mae.transform(np.zeros((2, 3, 20, 30), np.uint8)).shape == (2, 16)
    big = mrp.MaskedAutoencoder(**TINY | {"image_size": 8}).fit(np.zeros((8, 3, 20, 30), np.uint8) + np.arange(30, dtype=np.uint8))
    assert big.model_.image_shape == (3, 8, 8)


def test_layouts_give_the_same_model(images):
    first = mrp.MaskedAutoencoder(**TINY).fit(images)
    second = mrp.MaskedAutoencoder(**TINY).fit(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(first.transform(images), second.transform(images))


def test_parameters():
    mae = mrp.MaskedAutoencoder(epochs=3, mask_ratio=0.5, random_state=1)
    assert mae.get_params() == {"preset": None, "random_state": 1, "progress": None, "image_shape": None, "epochs": 3, "mask_ratio": 0.5}
    assert mae.mask_ratio == 0.5
    assert mae.norm_pix_loss is True  # the default
    assert mae.set_params(epochs=4, patch_size=8) is mae
    assert (mae.epochs, mae.patch_size) == (4, 8)
    assert type(mae)(**mae.get_params()).get_params() == mae.get_params()
    assert repr(mae) == "MaskedAutoencoder(random_state=1, epochs=4, mask_ratio=0.5, patch_size=8)"
    with pytest.raises(AttributeError):
        mae.mask_rato  # noqa: B018
    with pytest.raises(mrp.ArgumentError, match="mask_ratio"):
        mae.set_params(mask_rato=0.5)
    with pytest.raises(mrp.ArgumentError, match="random_state"):
        mrp.MaskedAutoencoder(seed=1)
    assert mrp.MaskedAutoencoder(preset="mae_vit_mini_32").encoder == "vit_mini"
    nested = mrp.Classifier(mae)
    nested.set_params(encoder__epochs=9, epochs=2)
    assert (mae.epochs, nested.epochs, nested.get_params()["encoder__epochs"]) == (9, 2, 9)
    assert mrp.Classifier("vit_mini").encoder == "vit_mini"


def test_fit_leaves_the_parameters_alone(images, labels):
    classifier = mrp.Classifier(**TINY)
    before = classifier.get_params()
    classifier.fit(images, labels)
    assert classifier.get_params() == before
    with pytest.raises(mrp.ArgumentError):
        classifier.set_params(mask_ratio=2).fit(images, labels)


def test_random_state(images):
    def features(state):
        return mrp.MaskedAutoencoder(**TINY | {"random_state": state}).fit(images).transform(images)

    np.testing.assert_array_equal(features(1), features(np.int64(1)))
    assert not np.array_equal(features(1), features(2))
    np.testing.assert_array_equal(features(np.random.default_rng(1)), features(np.random.default_rng(1)))
    np.testing.assert_array_equal(features(None), features(0))
    with pytest.raises(mrp.ArgumentError, match="random_state"):
        features("one")


def test_not_fitted(images):
    for call in (
        lambda: mrp.MaskedAutoencoder().transform(images),
        lambda: mrp.Classifier().predict(images),
        lambda: mrp.Classifier().save("nowhere.safetensors"),
        lambda: mrp.MaskedAutoencoder().model_,
    ):
        with pytest.raises(mrp.NotFittedError, match="fit"):
            call()
    assert not hasattr(mrp.MaskedAutoencoder(), "model_")


def test_save_and_load(mae, classifier, images, labels, tmp_path):
    mae.save(tmp_path / "mae.safetensors")
    classifier.save(str(tmp_path / "classifier.safetensors"))
    loaded = mrp.load(tmp_path / "mae.safetensors")
    assert isinstance(loaded, mrp.MaskedAutoencoder)
    np.testing.assert_array_equal(loaded.transform(images), mae.transform(images))
    assert loaded.get_params()["mask_ratio"] == 0.75
    loaded.random_state = 3
    np.testing.assert_array_equal(loaded.reconstruct(images).reconstructions, mae.reconstruct(images).reconstructions)
    other = mrp.load(tmp_path / "classifier.safetensors")
    assert isinstance(other, mrp.Classifier)
    np.testing.assert_array_equal(other.predict(images), classifier.predict(images))
    assert other.score(images, labels) == classifier.score(images, labels)
    for name in ("mae", "classifier"):
        mrp.load(tmp_path / f"{name}.safetensors").save(tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / f"{name}.safetensors").read_bytes()
        assert (tmp_path / f"{name}.json").exists()
    with pytest.raises(mrp.ArgumentError, match="classifier"):
        mrp.Classifier.load(tmp_path / "mae.safetensors")
    refitted = loaded.set_params(**RUN).fit(images)
    assert refitted.model_.info["hidden_size"] == 16


def test_files_with_any_name(mae, tmp_path):
    for name in ("name with blanks", "ünïcödé", "no_suffix"):
        mae.save(tmp_path / name)
        assert mrp.load(tmp_path / name).model_.info["parameters"] == mae.model_.info["parameters"]


def test_pickle_and_copies(mae, classifier, images):
    for estimator in (mae, classifier):
        use = estimator.transform if isinstance(estimator, mrp.MaskedAutoencoder) else estimator.predict_proba
        for copied in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
            assert repr(copied) == repr(estimator)
            assert copied.history_ == estimator.history_
            other = copied.transform if isinstance(copied, mrp.MaskedAutoencoder) else copied.predict_proba
            np.testing.assert_array_equal(other(images), use(images))
    unfitted = pickle.loads(pickle.dumps(mrp.Classifier(epochs=3)))
    assert unfitted.get_params() == mrp.Classifier(epochs=3).get_params()


def test_model_facts(mae):
    model = mae.model_
    assert model.image_shape == (3, 8, 8)
    assert model.patch_shape == (4, 4)
    assert model.grid == (2, 2)
    assert model.classes == 0
    total = 0
    for weight in model.info["weights"]:
        values = model.parameter(weight["name"])
        assert list(values.shape) == weight["shape"]
        total += values.size
    assert total == model.info["parameters"]
    with pytest.raises(mrp.ArgumentError, match="no_such_weight"):
        model.parameter("no_such_weight")
    assert "weights" in repr(model)


def test_plot(mae, images, tmp_path):
    figure = mae.plot_reconstructions(images[:3])
    assert len(figure.axes) == 9
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000
    gray = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)
    assert len(mrp.MaskedAutoencoder(**TINY).fit(gray).plot_reconstructions(gray[:1]).axes) == 3


def test_estimators_work_in_scikit_learn(images, labels):
    base = pytest.importorskip("sklearn.base", reason="scikit-learn is not installed")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    mae = mrp.MaskedAutoencoder(**TINY).fit(images)
    classifier = mrp.Classifier(mae, **RUN)
    assert base.is_classifier(classifier)
    assert base.clone(mrp.MaskedAutoencoder(epochs=3)).epochs == 3
    assert base.clone(classifier).encoder is mae
    assert cross_val_score(classifier, images, labels, cv=2).shape == (2,)
    search = GridSearchCV(classifier, {"epochs": [0.2, 1]}, cv=2).fit(images, labels)
    assert search.best_params_["epochs"] in (0.2, 1)
    pipeline = make_pipeline(mrp.MaskedAutoencoder(**TINY), LogisticRegression()).fit(images, labels)
    assert pipeline.predict(images).shape == (40,)
