"""ONNX files of every family of encoders: numpy computes from them what the library does."""

import mrp
import numpy as np
import pytest
from onnx_numpy import OnnxFile

VIT = {"width": 24, "depth": 2, "heads": 3, "mlp_ratio": 2, "image_height": 12, "image_width": 20, "patch_height": 4, "patch_width": 5}
NETWORKS = {
    "vit": VIT,
    "vit of pixels": {**VIT, "image_height": 3, "image_width": 4, "patch_height": 1, "patch_width": 1, "channels": 2},
    "resnet18": {"encoder": "resnet18", "width": 4, "image_height": 20, "image_width": 28, "channels": 1},
    "resnet50": {"encoder": "resnet50", "width": 4, "image_size": 45, "stem": "imagenet"},
    "convnext": {"encoder": "convnextv2_atto", "width": 8, "image_size": 16, "stem": "cifar"},
    "convnext of patches": {"encoder": "convnextv2_atto", "width": 4, "image_size": 64, "stem": "imagenet"},
}
PARAMETRIZED = pytest.mark.parametrize("name", NETWORKS)


def dataset(options, count=6):
    channels = options.get("channels", 3)
    height, width = (options.get(f"image_{side}", options.get("image_size")) for side in ("height", "width"))
    images = np.random.default_rng(1).random((count, channels, height, width), np.float32)
    return mrp.Dataset(images, np.arange(count, dtype=np.int32) % 3, layout="NCHW"), images


def close(actual, expected):
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 2e-5 * np.abs(expected).max()


def check(model, images, path, **options):
    model.export_onnx(path, classifier="new", **options)
    for count in (1, len(images)):
        some = images[:count]
        close(OnnxFile(path).run(some)["features"], model.encode(mrp.Dataset(some, layout="NCHW"), **options))


@PARAMETRIZED
def test_features(name, tmp_path):
    options = NETWORKS[name]
    model, (known, images) = mrp.Model(options, seed=3), dataset(options)
    # Norms and running statistics that have moved, and images that are standardised inside.
    model.finetune(known, epochs=1, batch_size=6, base_learning_rate=0.05, augmentation="none", warmup_epochs=0)
    for kind in ("mean", "tokens", "cls")[: 3 if "vit" in name else 2]:
        for layer in (0, 1, 2):
            check(model, images, tmp_path / "m.onnx", features=kind, layer=layer)


@PARAMETRIZED
def test_classifiers(name, tmp_path):
    options = NETWORKS[name]
    known, images = dataset(options)
    for pooling in ("mean", "cls")[: 2 if "vit" in name else 1]:
        model = mrp.Model(options, seed=3)
        model.finetune(known, epochs=1, batch_size=6, base_learning_rate=0.05, augmentation="none", warmup_epochs=0, pooling=pooling)
        model.export_onnx(tmp_path / "m.onnx")
        file = OnnxFile(tmp_path / "m.onnx")
        for count in (1, 6):
            outputs = file.run(images[:count])
            assert list(outputs) == ["logits", "probabilities"]
            close(outputs["probabilities"], model.predict_proba(mrp.Dataset(images[:count], layout="NCHW")))
            powers = np.exp(outputs["logits"].astype(float))
            close(powers / powers.sum(1, keepdims=True), outputs["probabilities"])
        # Every weight under its name, and nothing of the network twice.
        weights = {weight["name"]: weight["count"] for weight in model.info["weights"]}
        assert {key: value.size for key, value in file.weights.items() if key in weights} == {
            key: value for key, value in weights.items() if key in file.weights
        }
        assert set(weights) - set(file.weights) == ({"norm.weight", "norm.bias"} if "vit" in name and pooling == "mean" else set())


def test_images_stay_channels_first(tmp_path):
    """Between the convolutions of a residual network nothing is transposed."""
    options = NETWORKS["resnet50"]
    mrp.Model(options, seed=3).export_onnx(tmp_path / "m.onnx")
    operations = OnnxFile(tmp_path / "m.onnx").operations
    assert operations.count("Conv") == 53
    assert operations.count("Transpose") <= 1


def test_files_are_the_same_every_time(tmp_path):
    model = mrp.Model(VIT, seed=3)
    for name in ("first.onnx", "second.onnx"):
        model.export_onnx(tmp_path / name)
    data = (tmp_path / "first.onnx").read_bytes()
    assert data == (tmp_path / "second.onnx").read_bytes()
    assert data[:10] == b"\x08\x08\x12\x06libmrp"  # IR version 8, then the producer


def test_refused(tmp_path):
    path = tmp_path / "never.onnx"
    with pytest.raises(mrp.ArgumentError, match=r"layer 3 is outside 0 ... 2"):
        mrp.Model(VIT).export_onnx(path, layer=3)
    with pytest.raises(mrp.ArgumentError, match="no class token"):
        mrp.Model(NETWORKS["resnet18"]).export_onnx(path, features="cls")
    assert not path.exists()
