"""A run is its options, its data and its network: a run folder gives its weights to the same run, and to no other."""

import itertools
import json
import random
import struct

import mrp
import numpy as np
import pytest
from conftest import NETWORK

RANDOM = np.random.default_rng(5)
IMAGES = RANDOM.integers(0, 256, (16, 3, 8, 8), dtype=np.uint8)
LABELS = np.arange(16, dtype=np.int32) % 2
QUIET = {"tensorboard": False, "threads": 1, "batch_size": 8, "epochs": 1, "warmup_epochs": 0}


def identity_of(folder, phase):
    """The identity in the newest checkpoint of a folder."""
    path = max(folder.glob(f"{phase}-0*.ckpt"))
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return json.loads(header["__metadata__"]["libmrp.state"])["identity"]


# ---- Programs from bug reports


def test_cross_validation_in_one_folder_is_refused(tmp_path):
    """On noise no classifier beats chance: one that was given another fold's network did."""
    model_selection = pytest.importorskip("sklearn.model_selection")
    classifier = mrp.Classifier(**NETWORK, **QUIET, progress=False, run_folder=tmp_path)
    with pytest.raises(mrp.StateError, match=r"of another run: images 10 x 3 x 8 x 8 \(.*choose another run_folder"):
        model_selection.cross_val_score(classifier, IMAGES, LABELS, cv=3, error_score="raise")
    with pytest.warns(match="another run"):
        scores = model_selection.cross_val_score(classifier, IMAGES, LABELS, cv=3)
    assert np.isnan(scores).sum() >= 2


def test_a_folder_keeps_its_run(tmp_path):
    options = NETWORK | QUIET | {"progress": False, "run_folder": tmp_path}
    first = mrp.MaskedAutoencoder(**options).fit(IMAGES)
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt")}
    for change, words in [
        ({"learning_rate": 0.1}, "learning_rate auto, now 0.1"),
        ({"mask_ratio": 0.5}, "mask_ratio auto, now 0.5"),
        ({"norm_pix_loss": False}, "norm_pix_loss true, now false"),
        ({"depth": 2}, "num_hidden_layers 1, now 2"),
        ({"depth": 3, "learning_rate": 0.1}, "learning_rate auto, now 0.1; num_hidden_layers 1, now 3"),
        ({"optimizer": "sgd"}, "optimizer adamw, now sgd"),
    ]:
        with pytest.raises(mrp.StateError, match=words):
            mrp.MaskedAutoencoder(**options | change).fit(IMAGES)
    with pytest.raises(mrp.StateError, match="images 16 x 3 x 8 x 8"):
        mrp.MaskedAutoencoder(**options).fit(255 - IMAGES)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.ckpt")} == files
    again = mrp.MaskedAutoencoder(**options).fit(IMAGES)
    assert again.history_[-1]["loss"] == first.history_[-1]["loss"]
    assert np.array_equal(again.transform(IMAGES), first.transform(IMAGES))


def test_another_encoder_is_another_run(tmp_path):
    encoders = [mrp.MaskedAutoencoder(**NETWORK, **QUIET, progress=False, random_state=seed).fit(IMAGES) for seed in (1, 2)]
    options = QUIET | {"progress": False, "run_folder": tmp_path}
    first = mrp.Classifier(encoders[0], **options).fit(IMAGES, LABELS)
    with pytest.raises(mrp.StateError, match="initial_weights"):
        mrp.Classifier(encoders[1], **options).fit(IMAGES, LABELS)
    assert np.array_equal(mrp.Classifier(encoders[0], **options).fit(IMAGES, LABELS).predict_proba(IMAGES), first.predict_proba(IMAGES))


def test_a_longer_schedule_by_name(tmp_path):
    options = NETWORK | QUIET | {"progress": False, "run_folder": tmp_path}
    mrp.MaskedAutoencoder(**options).fit(IMAGES)
    longer = mrp.MaskedAutoencoder(**options | {"epochs": 3, "learning_rate": 1e-3, "resume_despite": ["epochs", "learning_rate"]})
    assert longer.fit(IMAGES).history_[-1]["step"] == 6
    assert identity_of(tmp_path, "pretrain")["options"]["epochs"] == "3"


# ---- Any two runs

NEUTRAL = {
    "threads": (1, 2),
    "loader_threads": (0, 2),
    "recompute": (False, True),
    "keep_checkpoints": (1, 3),
    "checkpoint_steps": (0, 1),
    "memory_limit": (0, 1 << 40),
    "cache_bytes": (0, 1 << 20),
    "time_budget": (0, 1000),
    "layer_norm_eps": (1e-6, "0.000001"),
}
BOTH = {
    "learning_rate": (1e-3, 2e-3),
    "weight_decay": (0.05, 0.5),
    "depth": (1, 2),
    "mlp_ratio": (2, 3),
    "batch_size": (8, 4),
    "epochs": (1, 2),
    "augmentation": ("none", "flip"),
    "optimizer": ("adamw", "lamb"),
    "seed": (0, 1),
    "drop_path": (0, 0.5),
    "ema_decay": (0, 0.5),
    "sampler": ("shuffle", "sequential"),
    "mean": ("0.5,0.5,0.5", "0.4,0.5,0.5"),
}
OWN = {
    "pretrain": {"mask_ratio": (0.75, 0.5), "norm_pix_loss": (True, False), "decoder_width": (16, 8), "objective": ("mae", "simmim")},
    "finetune": {"label_smoothing": (0.1, 0), "pooling": ("mean", "cls"), "head_deviation": (0.02, 0.5), "mixup": (0, 1)},
}


def datasets():
    """Images and labels of which some are the same data, however they are held."""
    pixel, label = IMAGES.copy(), LABELS.copy()
    pixel[7, 1, 2, 3] ^= 1
    label[5] ^= 1
    order = np.roll(np.arange(16), 1)
    return [
        mrp.Dataset(IMAGES, LABELS),
        mrp.Dataset(np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)), LABELS, layout="NHWC"),
        mrp.Dataset(pixel, LABELS),
        mrp.Dataset(IMAGES, label),
        mrp.Dataset(IMAGES[order], LABELS[order]),
        mrp.Dataset(IMAGES, LABELS).with_class_names(["left", "right"]),
    ]


def draw(dice, phase):
    """Options with a few that differ from the usual ones, and a dataset: near enough that some draws are the same run."""
    relevant = BOTH | OWN[phase]
    changed = dice.sample(sorted(relevant), dice.choice((0, 0, 1, 1, 2)))
    options = {key: values[key in changed] for key, values in relevant.items()}
    options |= {key: dice.choice(values) for key, values in NEUTRAL.items()}
    return NETWORK | QUIET | options, dice.choice((0, 0, 0, 1, 2, 3, 4, 5))


def run(phase, options, data, folder, tmp_path):
    """The bytes of the model that a run ends with."""
    options = options | {"run_folder": folder, "tensorboard": False}
    model = mrp.Model(options, image_size=8)
    getattr(model, phase)(data, options)
    model.save(tmp_path / "model.safetensors")
    return (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("phase", ["pretrain", "finetune"])
def test_equal_digests_are_equal_bits(phase, tmp_path):
    dice, pool, runs = random.Random(phase), datasets(), []
    for number in range(20):
        options, data = draw(dice, phase)
        folder = tmp_path / str(number)
        result = run(phase, options, pool[data], folder, tmp_path)
        runs.append((identity_of(folder, phase), result, options, data, folder))
    same = 0
    for (a, bits_a, *what_a, _), (b, bits_b, *what_b, _) in itertools.combinations(runs, 2):
        assert (a["digest"] == b["digest"]) == (bits_a == bits_b), (what_a, what_b)
        assert (a == b) == (bits_a == bits_b)
        same += bits_a == bits_b
    assert same > 3
    # In the folder of another run each of them is refused; in that of its own it gets its own bits.
    for (a, _, _, _, folder), (b, bits, options, data, _) in itertools.islice(itertools.pairwise(runs), 12):
        if a["digest"] == b["digest"]:
            assert run(phase, options, pool[data], folder, tmp_path) == bits
        else:
            with pytest.raises(mrp.StateError, match="of another run"):
                run(phase, options, pool[data], folder, tmp_path)
