"""Every objective from Python: it learns, goes on from a checkpoint to the same bits, is refused where it has no meaning."""

import mrp
import numpy as np
import pytest
from conftest import TINY

OBJECTIVES = ["mae", "simmim", "maskfeat", "beit", "data2vec", "ijepa", "teacher_student"]
SMALL = {
    "encoder": "vit_mini", "image_size": 16, "patch_size": 2, "width": 24, "depth": 2, "heads": 2, "decoder_width": 16, "decoder_depth": 1,
    "decoder_heads": 2, "codebook_size": 16, "batch_size": 16, "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures():
    """Smooth images, of which a hidden part can be guessed."""
    y, x = np.mgrid[0:16, 0:16] / 16
    rng = np.random.default_rng(0)
    waves = [np.sin(2 * np.pi * (a * y + b * x + c)) for a, b, c in rng.normal(size=(64 * 3, 3))]
    return np.clip(0.5 + 0.4 * np.stack(waves).reshape(64, 3, 16, 16), 0, 1).astype(np.float32)


def trainer_for(pictures, objective, **more):
    values = SMALL | {"objective": objective, "epochs": 8, "warmup_epochs": 1, "base_learning_rate": 0.02} | more
    config = mrp.Config(**{key: value for key, value in values.items() if value is not None})
    return mrp.Trainer(mrp.Model(config, seed=1), pictures, config)


CONVOLUTIONAL = {"width": 4, "decoder_width": 8, "depth": None, "heads": None, "patch_size": None}
PAIRS = [(objective, "vit_mini") for objective in OBJECTIVES] + [
    (objective, encoder)
    for encoder in ("resnet18", "convnextv2_atto")
    for objective in ("spark", "simmim", "maskfeat", "beit", "data2vec", "teacher_student")
]


@pytest.mark.parametrize("objective", ["simmim", "maskfeat", "beit", "data2vec"])
def test_students_that_skip_hidden_patches_learn(objective, pictures, tmp_path):
    trainer = trainer_for(pictures, objective, hidden_cells="skip", target_norm="instance")
    losses = [progress.loss for progress in trainer]
    assert np.isfinite(losses).all()
    if objective != "data2vec":  # a teacher's features change while the student learns them
        assert np.mean(losses[-4:]) < 0.97 * np.mean(losses[:4])
    trainer.model.save(tmp_path / "m.safetensors")
    assert not any(objective in weight["name"] for weight in mrp.Model.load(tmp_path / "m.safetensors").info["weights"])


@pytest.mark.parametrize(("objective", "encoder"), PAIRS)
def test_it_learns_and_saves(objective, encoder, pictures, tmp_path):
    more = {} if encoder == "vit_mini" else CONVOLUTIONAL | {"encoder": encoder}
    trainer = trainer_for(pictures, objective, **more)
    losses = [progress.loss for progress in trainer]
    assert len(losses) == 32
    if objective not in ("data2vec", "ijepa", "teacher_student"):  # a teacher's features change while the student learns them
        share = 0.95 if encoder == "vit_mini" else 0.999  # two of four cells say little about the others to 32 steps of a tiny network
        assert np.mean(losses[-4:]) < share * np.mean(losses[:4])
    assert np.isfinite(losses).all()
    features = trainer.model.encode(pictures)
    assert features.std(0).mean() > 1e-3
    trainer.model.save(tmp_path / "m.safetensors")
    again = mrp.Model.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.encode(pictures), features)
    assert not any(
        "teacher" in weight["name"] or "mask_token" in weight["name"]
        for weight in again.info["weights"]
        if objective not in ("mae", "spark")
    )
    labels = np.arange(64, dtype=np.int32) % 4
    assert again.finetune(mrp.Dataset(pictures, labels), epochs=1, batch_size=32, threads=1)


@pytest.mark.parametrize(("objective", "encoder"), [pair for pair in PAIRS if pair[0] in ("beit", "data2vec", "ijepa", "teacher_student")])
def test_it_goes_on_to_the_same_bits(objective, encoder, pictures, tmp_path):
    """The codebook and the teacher are in the checkpoint; masks follow from the step."""
    more = {"epochs": 2} | ({} if encoder == "vit_mini" else CONVOLUTIONAL | {"encoder": encoder})
    whole = trainer_for(pictures, objective, **more)
    expected = [progress.loss for progress in whole]
    first = trainer_for(pictures, objective, **more)
    for _ in range(3):
        assert first.step()
    first.save(tmp_path / "run.ckpt")
    second = trainer_for(pictures, objective, **more)
    second.resume(tmp_path / "run.ckpt")
    assert [progress.loss for progress in second] == expected[3:]
    np.testing.assert_array_equal(second.model.encode(pictures), whole.model.encode(pictures))


@pytest.mark.parametrize("pattern", ["random", "block", "grid", "multi_block"])
def test_every_pattern_trains(pattern, pictures):
    for objective in ("mae", "simmim"):
        trainer = trainer_for(pictures, objective, mask_pattern=pattern, epochs=1)
        assert np.isfinite([progress.loss for progress in trainer]).all()


def test_masks_of_the_caller(pictures):
    """The same masks, given instead of drawn, give another run; I-JEPA has no use for them."""

    def masking(numbers):
        mask = np.zeros((len(numbers), 64), np.uint8)
        mask[:, :38] = 1
        return mask

    config = mrp.Config(**SMALL, objective="data2vec", mask_ratio=0.59, epochs=1)
    trainer = mrp.Trainer(mrp.Model(config), pictures, config, masking=masking)
    assert trainer.step()
    config = mrp.Config(**SMALL, objective="ijepa", epochs=1)
    with pytest.raises(mrp.UnsupportedError, match="masks of the caller's have no meaning"):
        mrp.Trainer(mrp.Model(config), pictures, config, masking=masking).step()


def test_targets_of_the_caller(pictures):
    """A student of fixed targets: it sees the images that the network sees, and learns what the function says."""
    seen = []

    def targets(numbers, images):
        seen.append((numbers.copy(), images.copy()))
        patches = images.reshape(len(images), 3, 8, 2, 8, 2).mean((3, 5)).reshape(len(images), 3, 64)
        return patches.transpose(0, 2, 1)

    config = mrp.Config(**SMALL, objective="given", target_width=3, epochs=6, base_learning_rate=0.02, augmentation="none", seed=3)
    trainer = mrp.Trainer(mrp.Model(config), pictures, config, targets=targets)
    losses = [progress.loss for progress in trainer]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    numbers, images = seen[0]
    assert images.shape == (16, 3, 16, 16)
    expected = (pictures[numbers] - pictures.mean((0, 2, 3), keepdims=True)) / pictures.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(images, expected, atol=2e-4)


def test_defects_of_targets(pictures):
    config = mrp.Config(**SMALL, objective="given", target_width=3, epochs=1)

    def step(targets):
        mrp.Trainer(mrp.Model(config), pictures, config, targets=targets).step()

    with pytest.raises(mrp.StateError, match="fills the targets"):
        step(None)
    with pytest.raises(ValueError, match="gave an array of shape"):
        step(lambda numbers, images: np.zeros((2, 64, 3)))
    with pytest.raises(ValueError, match="targets gave"):
        step(lambda numbers, images: np.zeros((16, 64, 2)))
    with pytest.raises(ZeroDivisionError):
        step(lambda numbers, images: 1 / 0)
    with pytest.raises(mrp.ArgumentError, match="the targets of image"):
        step(lambda numbers, images: np.full((16, 64, 3), np.inf))
    with pytest.raises(mrp.StateError, match="this run has mae"):
        mrp.Trainer(mrp.Model(mrp.Config(**SMALL)), pictures, mrp.Config(**SMALL), targets=lambda numbers, images: images)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"objective": "ijepa", "mask_pattern": "random"}, "predicts blocks"),
        ({"objective": "ijepa", "mask_ratio": 0.5}, "blocks of 12 leave 16 of 64"),
        ({"objective": "ijepa", "patch_size": 8}, "too small for 4 blocks"),
        ({"objective": "data2vec", "teacher_layers": 3}, "teacher_layers 3 is outside 1 ... 2"),
        ({"objective": "given"}, "needs target_width"),
        ({"objective": "simmim", "mask_ratio": 0.999}, "leaves no visible patch"),
        ({"objective": "mae", "encoder": "resnet18", "width": 4}, "objective mae needs a vision transformer"),
        ({"objective": "data2vec", "encoder": "resnet18", "width": 4, "teacher_layers": 2}, "teacher_layers 2 is outside 1 ... 1"),
        ({"objective": "maskfeat", "encoder": "resnet18", "width": 4, "image_size": 20}, "not made of cells of 8 pixels"),
        ({"objective": "ijepa", "encoder": "resnet18", "width": 4}, "objective ijepa needs a vision transformer"),
        ({"objective": "simmim", "hidden_cells": "zero"}, "hidden_cells zero is for convolutional networks"),
        (
            {"objective": "simmim", "encoder": "resnet18", "width": 4, "hidden_cells": "token"},
            "hidden_cells token needs a vision transformer",
        ),
    ],
)
def test_combinations_without_meaning_are_refused(options, text, pictures):
    config = mrp.Config(**SMALL | options)
    with pytest.raises(mrp.MrpError, match=text):
        mrp.Trainer(mrp.Model(config), pictures, config)


def test_a_codebook_needs_patches(pictures):
    with pytest.raises(mrp.ArgumentError, match="codebook_size 65536 is over the 1024 patches"):
        trainer_for(pictures, "beit", codebook_size=65536).step()


@pytest.mark.parametrize("objective", ["simmim", "maskfeat", "beit", "data2vec", "ijepa", "teacher_student"])
def test_presets_are_whole(objective):
    for size in ("mini", "tiny"):
        config = mrp.Config(f"{objective}_vit_{size}_32")
        assert config["objective"] == objective
        assert config["encoder"] == f"vit_{size}"


def test_estimators_take_objectives(images):
    mae = mrp.MaskedAutoencoder(**TINY | {"objective": "simmim", "mask_pattern": "block", "epochs": 1}).fit(images)
    assert np.isfinite(mae.transform(images)).all()
