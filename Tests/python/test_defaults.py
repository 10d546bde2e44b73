"""Defaults that are guesses are said: fresh weights, mirrored images, large photographs, the crop of evaluation, the length of a run."""

import logging

import mrp
import numpy as np
import pytest
from conftest import NETWORK, TINY


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_fit_after_load_says_that_it_begins_anew(images, labels, mae, tmp_path, caplog):
    mae.save(tmp_path / "m.safetensors")
    loaded = mrp.load(tmp_path / "m.safetensors").set_params(epochs=0, batch_size=8, threads=1, progress=False)
    assert warnings_of(caplog) == []
    loaded.fit(images)
    assert "fit begins with fresh weights" in warnings_of(caplog)[0]
    loaded.fit(images)
    mrp.Classifier(loaded, epochs=0, augmentation="none", threads=1, progress=False).fit(images, labels)
    assert len([text for text in warnings_of(caplog) if "fresh" in text]) == 1


def test_mirroring_is_said_where_it_is_a_guess(images, labels, caplog):
    options = TINY | {"epochs": 0}
    mrp.Classifier(**options).fit(images, labels)
    assert warnings_of(caplog) == [
        "training mirrors images left and right (augmentation pad_crop_flip is the default): where that changes a class set pad_crop"
    ]
    caplog.clear()
    for kind in ("none", "flip", "pad_crop", "pad_crop_flip", "random_resized_crop", "random_resized_crop_flip"):
        mrp.Classifier(**options, augmentation=kind).fit(images, labels)
    mrp.MaskedAutoencoder(**options).fit(images)
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("kind", ["pad_crop", "random_resized_crop"])
def test_crops_without_mirroring(kind):
    """Images bright on the left stay so in every view of training."""
    pictures = np.zeros((32, 1, 16, 16), np.uint8)
    pictures[..., :8] = 200
    seen = []

    def targets(numbers, batch):
        seen.append(batch)
        return np.zeros((len(batch), 4, 1), np.float32)

    model = mrp.Model(image_size=16, channels=1, width=16, depth=1, heads=2, patch_size=8)
    options = {
        "objective": "given",
        "target_width": 1,
        "batch_size": 16,
        "epochs": 1,
        "mean": 0,
        "std": 1,
        "threads": 1,
        "crop_scale_min": 0.9,
    }
    for name, mirrored in ((kind, False), (f"{kind}_flip", True)):
        seen.clear()
        for _ in mrp.Trainer(model, pictures, augmentation=name, targets=targets, **options):
            pass
        views = np.concatenate(seen)
        bright = views[..., :8].mean((1, 2, 3)) > views[..., 8:].mean((1, 2, 3))
        assert bright.all() == (not mirrored)


def test_large_photographs_are_said(tmp_path, caplog):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for index in range(4):
        image.new("RGB", (40, 30 + index)).save(tmp_path / f"{index}.png")
    options = TINY | {"epochs": 0, "augmentation": "none"}
    mrp.MaskedAutoencoder(**options, image_size=8).fit(tmp_path)
    mrp.MaskedAutoencoder(**options, image_size=8).fit(np.zeros((4, 3, 32, 40), np.uint8))
    mrp.MaskedAutoencoder(**options, image_size=16).fit(tmp_path)
    mrp.MaskedAutoencoder(**options).fit(np.zeros((4, 3, 32, 32), np.uint8))
    said = [text for text in warnings_of(caplog) if "image_size" in text]
    assert said == ["the images are about 32 x 40, the network sees 8 x 8: a larger image_size keeps their details"] * 2


def test_evaluation_crop(images, model):
    """Part 1 sees the border of images of another size, the usual part does not; images of the network's size are never cropped."""
    large = np.full((2, 3, 32, 32), 100, np.uint8)
    framed = large.copy()
    framed[:, :, :1], framed[:, :, -1:], framed[..., :1], framed[..., -1:] = 255, 255, 255, 255
    options = {"threads": 1, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}

    def differs(**more):
        return not np.allclose(model.encode(framed, **options, **more), model.encode(large, **options, **more), atol=1e-6)

    assert differs(evaluation_crop=1)
    assert not differs(evaluation_crop=0.5)
    np.testing.assert_array_equal(model.encode(images, evaluation_crop=0.5, **options), model.encode(images, **options))
    with pytest.raises(mrp.ArgumentError, match="evaluation_crop"):
        model.encode(images, evaluation_crop=1.1)


@pytest.mark.parametrize(
    ("count", "phase", "batch", "steps"),
    [
        (10, "finetune", 10, 400),
        (50, "finetune", 16, 402),
        (100, "finetune", 16, 402),
        (200, "finetune", 16, 408),
        (500, "finetune", 32, 405),
        (1000, "finetune", 64, 405),
        (1024, "finetune", 128, 400),
        (3000, "finetune", 128, 460),
        (50, "pretrain", 50, 20),
        (1000, "pretrain", 128, 140),
    ],
)
def test_few_images_make_enough_steps(model, count, phase, batch, steps):
    data = mrp.Dataset(np.zeros((count, 3, 8, 8), np.uint8), np.arange(count) % 5)
    options = {key: value for key, value in NETWORK.items() if key.startswith("decoder")} | {"threads": 1, "learning_rate": 0}
    trainer = mrp.Trainer(model, data, options, phase=phase)
    assert trainer.plan.steps == steps
    trainer.step()
    assert trainer.progress.epoch == pytest.approx(1 / (count // batch))
    other = model.copy()  # one run at a time trains a model
    assert mrp.Trainer(other, data, options, phase=phase, epochs=3, batch_size=5).plan.steps == 3 * (count // 5)
