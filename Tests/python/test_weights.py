"""Weights of others: stored models of transformers and timm, every spelling, other shapes, state dicts."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import mrp
import numpy as np
import pytest
from mrp._torch import read_floats, write_floats

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "weights"
STYLES = ("hub", "timm", "transformers5", "transformers5_saved")
AUTOENCODERS = [f"mae_{style}" for style in STYLES]


def deviation(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


def softmax(logits):
    values = np.exp(logits - logits.max(1, keepdims=True))
    return values / values.sum(1, keepdims=True)


def load(name, **options):
    known = {} if (FOLDER / name / "config.json").exists() and not name.startswith("timm") else {"heads": 3}
    return mrp.Model.load(FOLDER / name, **known, **options), read_floats(FOLDER / name / "expected.safetensors")


def names_in(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return sorted(name for name in json.loads(file.read(length)) if name != "__metadata__")


def weights_of(model):
    return {entry["name"]: model.parameter(entry["name"]) for entry in model.info["weights"]}


def same(first, second):
    first, second = weights_of(first), weights_of(second)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", [*AUTOENCODERS, "encoder_timm", "vit_base_model"])
def test_tokens_are_those_of_transformers(name):
    model, expected = load(name)
    assert deviation(model.encode(expected["images"], features="tokens"), expected["tokens"]) < 2e-6


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_predictions_are_those_of_transformers(name):
    model, expected = load(name)
    result = model.reconstruct(expected["images"], mask=expected["mask"].astype(np.uint8))
    patches = expected["prediction"].reshape(2, 3, 3, 4, 4, 3).transpose(0, 5, 1, 3, 2, 4).reshape(2, 3, 12, 12)
    hidden = np.kron(expected["mask"].reshape(2, 1, 3, 3), np.ones((1, 3, 4, 4)))
    assert deviation(result.reconstructions * hidden, patches * hidden) < 2e-6


@pytest.mark.parametrize("name", ["vit_hub", "vit_shards", "timm_token", "timm_avg"])
def test_classes_are_those_of_transformers_and_timm(name):
    model, expected = load(name)
    assert deviation(model.predict_proba(expected["images"]), softmax(expected["logits"])) < 2e-6
    assert model.info["libmrp"]["positions"] == "learned"


@pytest.mark.parametrize("style", STYLES)
def test_every_spelling_is_written_and_read(style, tmp_path):
    model, _ = load("mae_hub")
    model.save(tmp_path / "m.safetensors", names=style)
    assert names_in(tmp_path / "m.safetensors") == names_in(FOLDER / f"mae_{style}" / "model.safetensors")
    again = mrp.Model.load(tmp_path / "m.safetensors")
    assert same(model, again)
    again.save(tmp_path / "again.safetensors", names=style)
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["vit_hub", "timm_token", "timm_avg"])
def test_classifiers_survive_every_spelling(name, style, tmp_path):
    model, expected = load(name)
    model.save(tmp_path / "m.safetensors", names=style)
    again = mrp.Model.load(tmp_path / "m.safetensors")
    assert np.array_equal(model.predict_proba(expected["images"]), again.predict_proba(expected["images"]))


def test_timm_names_of_a_mean_classifier_are_timms(tmp_path):
    model, _ = load("timm_avg")
    model.save(tmp_path / "m.safetensors", names="timm")
    assert names_in(tmp_path / "m.safetensors") == names_in(FOLDER / "timm_avg" / "model.safetensors")


@pytest.mark.parametrize("prefix", ["module.", "model."])
def test_prefixes_of_wrappers_are_removed(prefix, tmp_path):
    tensors = read_floats(FOLDER / "mae_timm" / "model.safetensors")
    write_floats(tmp_path / "model.safetensors", {prefix + name: value for name, value in tensors.items()})
    shutil.copy(FOLDER / "mae_timm" / "config.json", tmp_path)
    assert same(mrp.Model.load(tmp_path), load("mae_timm")[0])


def test_a_folder_gets_the_files_of_transformers(tmp_path):
    model, _ = load("vit_hub")
    model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["ViTForImageClassification"]
    assert config["layer_norm_eps"] == 1e-12
    assert config["image_size"] == [8, 12]
    assert config["id2label"] == {str(index): f"LABEL_{index}" for index in range(5)}
    assert same(mrp.Model.load(tmp_path), model)
    # Without our metadata the configuration beside the file says the same.
    write_floats(tmp_path / "model.safetensors", read_floats(tmp_path / "model.safetensors"))
    assert same(mrp.Model.load(tmp_path), model)


@pytest.mark.parametrize(("kind", "bits"), [("F16", 10), ("BF16", 7)])
def test_16_bit_numbers_are_the_nearest(kind, bits, tmp_path):
    model, _ = load("timm_token")
    model.save(tmp_path / "m.safetensors", weights_type=kind)
    again = mrp.Model.load(tmp_path / "m.safetensors")
    for name, values in weights_of(model).items():
        rounded = again.parameter(name)
        error = np.abs(rounded - values) / np.maximum(np.abs(values), 2.0**-14)
        assert error.max() <= 2.0 ** -(bits + 1), name
        if kind == "F16":
            assert np.array_equal(rounded, values.astype(np.float16).astype(np.float32))
    again.save(tmp_path / "again.safetensors", weights_type=kind)
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_a_weight_beyond_float16_is_refused(tmp_path):
    tensors = read_floats(FOLDER / "timm_token" / "model.safetensors")
    tensors["norm.bias"][3] = 70_000
    write_floats(tmp_path / "model.safetensors", tensors)
    model = mrp.Model.load(tmp_path, heads=3)
    with pytest.raises(mrp.NumericError, match=r"weight 3 of 'vit.layernorm.bias' is 70000.0: F16 reaches 65504"):
        model.save(tmp_path / "half.safetensors", weights_type="F16")
    assert not (tmp_path / "half.safetensors").exists()


# -- Other shapes


@pytest.fixture
def adaptation(tmp_path):
    stored = read_floats(FOLDER / "adaptation.safetensors")
    tensors = read_floats(FOLDER / "timm_token" / "model.safetensors")
    tensors |= {"pos_embed": stored["positions"], "patch_embed.proj.weight": stored["patches"]}
    write_floats(tmp_path / "model.safetensors", tensors)
    return tmp_path, stored


@pytest.mark.parametrize("grid", [(5, 4), (2, 2), (3, 6)])
def test_positions_are_interpolated_as_timm_does(adaptation, grid):
    folder, stored = adaptation
    model = mrp.Model.load(folder, heads=3, image_height=4 * grid[0], image_width=4 * grid[1], positions="bicubic")
    assert deviation(model.parameter("pos_embed"), stored[f"positions_{grid[0]}x{grid[1]}"]) < 1e-6
    assert f"positions of 3 x 3 patches became {grid[0]} x {grid[1]}: interpolated" in model.notes


@pytest.mark.parametrize("patch", [(6, 6), (8, 5), (3, 2)])
def test_patches_are_resampled_as_timm_does(adaptation, patch):
    folder, stored = adaptation
    sizes = {"image_height": 3 * patch[0], "image_width": 3 * patch[1], "patch_height": patch[0], "patch_width": patch[1]}
    model = mrp.Model.load(folder, heads=3, patch_weights="resample", **sizes)
    assert deviation(model.parameter("patch_embed.proj.weight"), stored[f"patches_{patch[0]}x{patch[1]}"]) < 2e-6
    assert f"patch weights of 4 x 4 pixels became {patch[0]} x {patch[1]}: resampled" in model.notes


@pytest.mark.parametrize("channels", [1, 4, 7])
def test_channels_are_repeated_as_timm_does(adaptation, channels):
    folder, stored = adaptation
    model = mrp.Model.load(folder, heads=3, channels=channels, channel_weights="repeat")
    assert deviation(model.parameter("patch_embed.proj.weight"), stored[f"channels_{channels}"]) < 1e-6


def test_channels_are_averaged(adaptation):
    folder, stored = adaptation
    model = mrp.Model.load(folder, heads=3, channels=5, channel_weights="average")
    expected = np.repeat(stored["patches"].mean(1, keepdims=True) * 3 / 5, 5, axis=1)
    assert deviation(model.parameter("patch_embed.proj.weight"), expected) < 1e-6


def test_statistics_of_other_channels_are_left_out():
    model, expected = load("timm_token", channels=1, channel_weights="repeat")
    assert "mean" not in model.info["libmrp"]
    assert any("mean and deviation of the file's 3 channels are left out" in note for note in model.notes)
    assert model.predict_proba(expected["images"][:, :1]).shape == (2, 4)


def test_positions_are_recomputed():
    larger, _ = load("mae_hub", image_size=24, positions="recompute")
    fresh = mrp.Model(image_size=24, patch_size=4, width=24, depth=2, heads=3)
    assert np.array_equal(larger.parameter("pos_embed"), fresh.parameter("pos_embed"))
    assert larger.parameter("decoder_pos_embed").shape == (1, 37, 16)
    assert larger.info["image_size"] == 24


def test_recomputed_positions_of_a_classifier_are_fixed():
    model, _ = load("timm_token", positions="recompute")
    assert model.info["libmrp"]["positions"] == "sin_cos"


def test_a_decoder_does_not_follow_to_other_patches():
    model, _ = load("mae_hub", patch_size=2, image_size=6, patch_weights="resample")
    assert "decoder_hidden_size" not in model.info
    assert any("decoder is left out" in note for note in model.notes)


def test_a_new_classifier():
    model, _ = load("timm_avg", classifier="new", classes=7)
    assert model.classes == 7
    bare, expected = load("timm_avg", classifier="new")
    assert bare.classes == 0
    assert bare.encode(expected["images"]).shape == (2, 24)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"channels": 1}, "the file has 3 channels, option channels is 1: set channel_weights=repeat or average"),
        ({"image_size": 24}, "the file has a grid of 3 x 3 patches, the options want 6 x 6: set positions=recompute or bicubic"),
        ({"patch_size": 6}, "the file has patches of 4 x 4, the options want 6 x 6: set patch_weights=resample"),
        ({"classes": 9}, "the file has 4 classes, option classes is 9: set classifier=new"),
        ({"image_size": 13, "positions": "bicubic"}, "image size 13 x 13 is not a multiple of the patch size 4 x 4"),
        ({"patch_size": 300, "image_size": 900, "patch_weights": "resample"}, "patches of 300 x 300 are over the limit of 256 x 256"),
    ],
)
def test_changes_must_be_asked_for(options, text):
    with pytest.raises(mrp.ArgumentError, match=text):
        load("timm_token", **options)


def test_what_a_file_does_not_say_is_asked_for(tmp_path):
    shutil.copy(FOLDER / "encoder_timm" / "model.safetensors", tmp_path)
    with pytest.raises(mrp.ArgumentError, match="how many attention heads a width of 24 has: set option heads"):
        mrp.Model.load(tmp_path)
    model = mrp.Model.load(tmp_path, heads=3)
    assert model.notes == [
        "assumed, as the file does not say it: exact GELU",
        "layer_norm_eps 1e-06 is assumed: the file does not say it",
        "mean and deviation of the pixels are not known: pixels are used as they are, 0 ... 1; set mean and std",
    ]


def test_zero_positions_are_noted(tmp_path):
    tensors = read_floats(FOLDER / "mae_hub" / "model.safetensors")
    tensors["vit.embeddings.position_embeddings"][:] = 0
    write_floats(tmp_path / "model.safetensors", tensors)
    config = json.loads((FOLDER / "mae_hub" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"libmrp": {"positions": "sin_cos"}}))
    assert any("all positions are zero" in note for note in mrp.Model.load(tmp_path).notes)
    assert mrp.Model.load(tmp_path, positions="recompute").parameter("pos_embed").any()


def test_learned_positions_are_trained_and_kept(tmp_path):
    model, _ = load("timm_token")
    before = model.parameter("pos_embed")
    images = np.random.default_rng(0).random((8, 3, 12, 12), np.float32)
    dataset = mrp.Dataset(images, np.arange(8, dtype=np.int32) % 4)
    model.finetune(dataset, epochs=2, batch_size=4, pooling="cls", classes=4, threads=1, base_learning_rate=0.1)
    after = model.parameter("pos_embed")
    assert not np.array_equal(before, after)
    model.save(tmp_path / "m.safetensors")
    assert np.array_equal(mrp.Model.load(tmp_path / "m.safetensors").parameter("pos_embed"), after)


# -- Estimators, PyTorch


def test_estimators_of_files_of_others():
    assert isinstance(mrp.load(FOLDER / "mae_hub"), mrp.MaskedAutoencoder)
    classifier = mrp.load(FOLDER / "vit_hub")
    assert isinstance(classifier, mrp.Classifier)
    assert classifier.classes_.tolist() == [0, 1, 2, 3, 4]


def test_importing_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import mrp; mrp.Model(encoder='vit_mini')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_from_a_state_dict_of_arrays():
    tensors = read_floats(FOLDER / "timm_token" / "model.safetensors")
    model = mrp.from_torch(tensors, heads=3)
    assert all(np.array_equal(model.parameter(name), value) for name, value in tensors.items())
    with pytest.raises(mrp.ArgumentError, match="expected a PyTorch module or a state dict, got int"):
        mrp.from_torch(3)


def residual(tmp_path, rename=None):
    tensors = read_floats(FOLDER / "resnet_torchvision" / "model.safetensors")
    write_floats(tmp_path / "model.safetensors", {(rename or str)(name): value for name, value in tensors.items()})
    return mrp.Model.load(tmp_path, image_size=12), read_floats(FOLDER / "resnet_torchvision" / "expected.safetensors")


def test_torchvisions_network_is_read_without_a_configuration(tmp_path):
    model, expected = residual(tmp_path)
    assert deviation(model.predict_proba(expected["images"]), softmax(expected["logits"])) < 2e-6
    assert (model.info["architecture"], model.info["stem"], model.info["base_width"]) == ("resnet18", "cifar", 2)
    assert any("images of 32 x 32 are assumed" in note for note in mrp.Model.load(FOLDER / "resnet_torchvision").notes)


def test_torchvisions_names_are_written(tmp_path):
    """Every name that torch wants, the counts of its batch norms too."""
    model, _ = residual(tmp_path)
    for style in STYLES:
        model.save(tmp_path / "m.safetensors", names=style)
        assert names_in(tmp_path / "m.safetensors") == names_in(FOLDER / "resnet_torchvision" / "model.safetensors")
    model.save(tmp_path / "m.safetensors", weights_type="BF16")
    with open(tmp_path / "m.safetensors", "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        count = json.loads(file.read(length))["bn1.num_batches_tracked"]
    assert (count["dtype"], count["shape"]) == ("I64", [])
    assert same(mrp.Model.load(tmp_path / "m.safetensors"), mrp.Model.load(tmp_path / "m.safetensors"))


def test_features_of_every_stage(tmp_path):
    model, expected = residual(tmp_path)
    for layer, (tokens, width) in enumerate([(144, 2), (36, 4), (9, 8), (4, 16)], 1):
        features = model.encode(expected["images"], features="tokens", layer=layer)
        assert features.shape == (3, tokens, width)
        assert deviation(model.encode(expected["images"], layer=layer), features.mean(1)) < 1e-6
    assert "resnet18, images 3 x 12 x 12," in repr(model)
    with pytest.raises(mrp.ArgumentError, match="a residual network, has no attention"):
        model.attention(expected["images"])


def test_an_estimator_and_the_command_know_residual_networks(tmp_path, capsys):
    from mrp._command import main

    _, expected = residual(tmp_path)
    mrp.Model.load(tmp_path, image_size=12).save(tmp_path / "m.safetensors")
    classifier = mrp.Classifier.load(tmp_path / "m.safetensors")
    assert (classifier.encoder, classifier.stem, classifier.width) == ("resnet18", "cifar", 2)
    assert classifier.model_.predict_proba(expected["images"]).shape == (3, 4)
    assert main(["info", str(tmp_path / "m.safetensors")]) == 0
    assert "encoder: resnet18\nimages: 3 x 12 x 12\n" in capsys.readouterr().out


@pytest.mark.parametrize("prefix", ["sparse_encoder.sp_cnn.", "module.sparse_encoder.sp_cnn.", "module."])
def test_sparks_names_are_read(prefix, tmp_path):
    folder = tmp_path / "spark"
    folder.mkdir()
    assert same(residual(folder, lambda name: prefix + name)[0], residual(tmp_path)[0])


def test_timms_configuration_says_what_images_are(tmp_path):
    residual(tmp_path)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    values = {"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 16, 20], "mean": mean, "std": std}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    info = mrp.Model.load(tmp_path).info
    assert info["image_size"] == [16, 20]
    assert info["libmrp"]["mean"] == mean
