"""Options: the library's one table, seen from Python."""

import copy
import pickle

import mrp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

OPTIONS = mrp.options()


def test_the_table_is_complete():
    assert {"encoder", "mask_ratio", "epochs", "seed", "threads"} <= set(OPTIONS)
    for option in OPTIONS.values():
        assert option.summary, option.key
        assert option.section, option.key
        assert option.type in {"integer", "number", "flag", "choice", "numbers", "text"}
    assert "mae_vit_tiny_32" in mrp.presets()


def test_defaults_are_the_tables():
    config = mrp.Config()
    assert config["mask_ratio"] == "auto"
    assert config["norm_pix_loss"] is True
    assert config["image_size"] == 32
    assert config["encoder"] == "vit_tiny"
    assert config["learning_rate"] == "auto"
    assert set(config) == set(OPTIONS)


def test_every_default_can_be_set():
    config = mrp.Config()
    for key, option in OPTIONS.items():
        config[key] = option.default
        config[key] = config[key]


def test_values_of_every_kind():
    config = mrp.Config(mask_ratio=np.float32(0.5), epochs=np.int64(3), norm_pix_loss=np.False_, mean=[0.5, 0.25, 1], std=np.ones(3))
    assert config["mask_ratio"] == 0.5
    assert config["epochs"] == 3
    assert config["norm_pix_loss"] is False
    assert config["mean"] == (0.5, 0.25, 1)
    assert config["std"] == (1, 1, 1)
    with pytest.raises(TypeError, match="mask_ratio"):
        mrp.Config(mask_ratio=object())


def test_phases():
    config = mrp.Config(epochs=5)
    config["finetune.epochs"] = 7
    assert (config["pretrain.epochs"], config["finetune.epochs"]) == (5, 7)
    config["epochs"] = 9
    assert config["finetune.epochs"] == 9
    with pytest.raises(mrp.ArgumentError, match="phase"):
        config["finetune.mask_ratio"] = 0.5


def test_presets():
    config = mrp.Config("mae_vit_tiny_32", epochs=3)
    assert config["encoder"] == "vit_tiny"
    assert config["epochs"] == 3
    with pytest.raises(mrp.ArgumentError, match="mae_vit_tiny_32"):
        mrp.Config("mae_vit_tiny_33")


@pytest.mark.parametrize(("wrong", "right"), [("mask_rato", "mask_ratio"), ("epoch", "epochs"), ("patchsize", "patch_size")])
def test_unknown_option_names_the_nearest(wrong, right):
    for call in (mrp.Config, mrp.Model, mrp.MaskedAutoencoder, mrp.Classifier, lambda **options: mrp.Dataset.generate(1, **options)):
        with pytest.raises(mrp.ArgumentError, match=f"'{wrong}'.*'{right}'"):
            call(**{wrong: 1})
    config = mrp.Config()
    with pytest.raises(KeyError):
        config[wrong]
    config[right] = 1 if right != "mask_ratio" else 0.5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mask_ratio", 1.0),
        ("mask_ratio", -0.1),
        ("mask_ratio", float("nan")),
        ("mask_ratio", "most"),
        ("epochs", -1),
        ("epochs", float("inf")),
        ("batch_size", 0),
        ("batch_size", 1.5),
        ("batch_size", 2**70),
        ("image_size", 0),
        ("encoder", "resnet"),
        ("norm_pix_loss", "maybe"),
        ("mean", "1,x"),
        ("seed", -1),
        ("threads", 0),
    ],
)
def test_values_outside_their_limits(key, value):
    config = mrp.Config()
    before = config[key]
    with pytest.raises(mrp.ArgumentError, match=key):
        config[key] = value
    assert config[key] == before


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(OPTIONS)), st.text(max_size=12) | st.integers().map(str) | st.floats().map(repr))
def test_any_text_is_taken_or_refused(key, text):
    config = mrp.Config()
    try:
        config[key] = text
    except mrp.ArgumentError as error:
        assert key in str(error)  # noqa: PT017 -- an error is one of two right outcomes
    except ValueError as error:  # a NUL cannot be passed
        assert "\0" in text, error  # noqa: PT017
    else:
        config[key]
        assert key in repr(config)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=30))
@example("decoder_width")
def test_any_key_is_known_or_refused(key):
    try:
        mrp.Config()[key] = "1"
    except mrp.ArgumentError as error:  # a known one may still not take a 1
        assert ("unknown option" in str(error)) == (key not in OPTIONS)  # noqa: PT017 -- an error is one of two right outcomes
    except ValueError as error:  # a NUL cannot be passed
        assert "\0" in key, error  # noqa: PT017


def test_config_copies_and_pickles():
    config = mrp.Config("mae_vit_mini_32", mask_ratio=0.5)
    config["finetune.epochs"] = 4
    for other in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert dict(other) == dict(config)
        assert other["finetune.epochs"] == 4
        other["mask_ratio"] = 0.25
    assert config["mask_ratio"] == 0.5
