"""Residual networks of torchvision, timm and SparK in ours and back, by ONNX, and the decisions on real images."""

import subprocess
from pathlib import Path

import mrp
import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from test_interop import close
from torch_resnet import NarrowResNet, ResNetConfig
from torchvision.models import resnet18, resnet50

CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-jpeg.tar.zst"
ODD = [ResNetConfig("resnet18", "cifar", 6, 1, 20, 28, 5), ResNetConfig("resnet50", "imagenet", 8, 4, 45, 70, 3)]
TIMM = {"resnet18": {"num_classes": 11}, "resnet50": {"in_chans": 4, "num_classes": 7}}


def settled(module, images):
    """Weights as after a training: norms that differ from 1 and 0, branches that add little, running statistics that fit.

    With wild ones a network of fifty layers is so ill-conditioned that float32 itself, theirs too, is off by more than the tolerance.
    """
    torch.manual_seed(0)
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for part in norms:
            part.weight.normal_(1.0, 0.2)
            part.bias.normal_(0.0, 0.2)
            part.momentum = 1.0
        for part in module.modules():
            if hasattr(part, "conv2") and hasattr(part, "bn2"):
                getattr(part, "bn3", part.bn2).weight.mul_(0.3)
        module.train()(torch.from_numpy(images))
    for part in norms:
        part.momentum = 0.1
    return module.eval()


def pixels(channels, height, width, count=4):
    return np.random.default_rng(1).random((count, channels, height, width), np.float32)


def theirs_and_images(name):
    """A network of the given name, and images that it takes."""
    if isinstance(name, ResNetConfig):
        images = pixels(name.channels, name.image_height, name.image_width)
        return settled(NarrowResNet(name), images), images
    images = pixels(3, 224, 224, 2)
    return settled({"resnet18": resnet18, "resnet50": resnet50}[name](), images), images


NETWORKS = pytest.mark.parametrize("name", ["resnet18", "resnet50", *ODD], ids=["resnet18", "resnet50", "gray18", "wide50"])


@NETWORKS
def test_torchvision_in_ours_and_back(name, tmp_path):
    theirs, images = theirs_and_images(name)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images))
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    size = {"image_height": images.shape[2], "image_width": images.shape[3]}
    for model in (mrp.Model.load(tmp_path, **size), mrp.from_torch(theirs, **size), mrp.from_torch(theirs.state_dict(), **size)):
        close(model.predict_proba(images), expected.softmax(-1))
    # And back, strictly: each of their names is there, none other, and the numbers are the same.
    model.save(tmp_path / "ours.safetensors")
    stored = load_file(tmp_path / "ours.safetensors")
    state = theirs.state_dict()
    assert {key: (value.shape, value.dtype) for key, value in stored.items()} == {k: (v.shape, v.dtype) for k, v in state.items()}
    assert all(torch.equal(value, state[key]) for key, value in stored.items() if not key.endswith("num_batches_tracked"))
    fresh = NarrowResNet(name) if isinstance(name, ResNetConfig) else {"resnet18": resnet18, "resnet50": resnet50}[name]()
    for state in (stored, mrp.to_torch_state_dict(model, style="timm")):
        fresh.load_state_dict(state)
        with torch.no_grad():
            close(fresh.eval()(torch.from_numpy(images)), expected, 0)


@pytest.mark.parametrize("name", TIMM)
def test_timm_in_ours_and_back(name, tmp_path):
    options = TIMM[name]
    theirs = timm.create_model(name, **options)
    channels = options.get("in_chans", 3)
    images = pixels(channels, 224, 224, 2)
    settled(theirs, images)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).softmax(-1)
        mean, std = (torch.tensor(theirs.pretrained_cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
        standard = theirs((torch.from_numpy(images) - mean) / std).softmax(-1) if channels == 3 else expected
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    close(mrp.Model.load(tmp_path).predict_proba(images), expected)
    model = mrp.from_torch(theirs)  # knows what its pixels were standardised by
    close(model.predict_proba(images), standard)
    model.save(tmp_path / "ours.safetensors", names="timm")
    again = timm.create_model(name, **options)
    again.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    with torch.no_grad():
        close(again.eval()(torch.from_numpy(images)).softmax(-1), expected, 0)
    timm.models.load_checkpoint(again, str(tmp_path / "ours.safetensors"), strict=True)


@pytest.mark.parametrize("case", ODD, ids=["gray18", "wide50"])
def test_our_classifier_in_torchvision(case, tmp_path):
    """Weights that training here has moved, their running statistics too."""
    images = pixels(case.channels, case.image_height, case.image_width, 12)
    model = mrp.Model(
        encoder=case.architecture, stem=case.stem, width=case.base_width, channels=case.channels, image_height=case.image_height,
        image_width=case.image_width,
    )  # fmt: skip
    none = {"mean": (0.0,) * case.channels, "std": (1.0,) * case.channels, "augmentation": "none"}
    labels = np.arange(12, dtype=np.int32) % case.classes
    model.finetune(mrp.Dataset(images, labels), epochs=3, batch_size=6, base_learning_rate=0.05, **none)
    model.save(tmp_path / "m.safetensors")
    theirs = NarrowResNet(case).eval()
    theirs.load_state_dict(load_file(tmp_path / "m.safetensors"))
    with torch.no_grad():
        close(model.predict_proba(images), theirs(torch.from_numpy(images)).softmax(-1))


def test_the_encoder_of_spark_in_ours(tmp_path):
    """A checkpoint of SparK: timm's names behind a prefix, and a decoder that is left out."""
    theirs = timm.create_model("resnet50", num_classes=0)
    images = pixels(3, 224, 224, 2)
    settled(theirs, images)
    state = {f"sparse_encoder.sp_cnn.{name}": value for name, value in theirs.state_dict().items()}
    for index, width in enumerate((2048, 1024, 512, 256)):
        state[f"mask_tokens.{index}"] = torch.zeros(1, width, 1, 1)
        state[f"densify_norms.{index}.weight"] = torch.zeros(width)
        state[f"densify_projs.{index}.weight"] = torch.zeros(768 >> index, width, 1, 1)
    state |= {"dense_decoder.proj.weight": torch.zeros(3, 24, 1, 1), "imn_m": torch.zeros(1, 3, 1, 1), "norm_black": torch.zeros(1)}
    save_file(state, tmp_path / "model.safetensors")
    model = mrp.Model.load(tmp_path)
    assert "the decoder of SparK (15 tensors) is left out" in model.notes
    with torch.no_grad():
        exact = theirs.double().forward_features(torch.from_numpy(images).double())
    # Theirs in float64: fifty layers lose 7e-6 in float32, theirs as ours, and the two errors may add up to more than the limit.
    close(model.encode(images, features="tokens"), exact.flatten(2).transpose(1, 2))


@NETWORKS
def test_onnx(name, tmp_path):
    theirs, images = theirs_and_images(name)
    size = {"image_height": images.shape[2], "image_width": images.shape[3]}
    model = mrp.from_torch(theirs, **size)
    path = str(tmp_path / "m.onnx")
    model.export_onnx(path)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path)
    assert [(version.domain, version.version) for version in onnx.load(path).opset_import] == [("", 17)]
    for count in (1, len(images)):
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images[:count]})
        with torch.no_grad():
            close(logits, theirs(torch.from_numpy(images[:count])), 1e-4)
        close(probabilities, model.predict_proba(images[:count]), 1e-4)
    for options in ({"features": "mean"}, {"features": "tokens"}, {"features": "tokens", "layer": 2}, {"features": "mean", "layer": 1}):
        model.export_onnx(path, classifier="new", **options)
        onnx.checker.check_model(path, full_check=True)
        close(onnxruntime.InferenceSession(path).run(["features"], {"images": images})[0], model.encode(images, **options), 1e-4)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A thousand images of CIFAR-10's test set and a thousand to train on, [1000, 3, 32, 32] in 0 ... 1, with labels."""
    if not CIFAR.exists():
        pytest.skip(f"{CIFAR} is not there")
    folder = tmp_path_factory.mktemp("cifar")
    wanted = ["--wildcards", "*test/*/00*.jpg", "*train/*/00*.jpg"]
    subprocess.run(["tar", "--zstd", "-xf", str(CIFAR), "-C", str(folder), *wanted], check=True)
    result = {}
    for part in ("train", "test"):
        paths = sorted(path for path in folder.rglob("*.jpg") if part in path.parts)
        names = sorted({path.parent.name for path in paths})
        images = np.stack([np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1) / 255 for path in paths])
        result[part] = images, np.array([names.index(path.parent.name) for path in paths], np.int32)
        assert images.shape == (1000, 3, 32, 32)
    return result


@pytest.mark.parametrize(
    "options",
    [{"encoder": "resnet18", "width": 16}, {"encoder": "resnet50", "width": 8}, {"encoder": "vit_mini"}],
    ids=["resnet18", "resnet50", "vit"],
)
def test_decisions_on_1000_images_are_the_same(options, photographs, tmp_path):
    model = mrp.Model(**options)
    model.finetune(mrp.Dataset(*photographs["train"]), epochs=6, batch_size=50)
    images, labels = photographs["test"]
    model.export_onnx(tmp_path / "m.onnx")
    logits = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(["logits"], {"images": images})[0]
    ours = model.predict_proba(images).argmax(1)
    assert np.array_equal(logits.argmax(1), ours)
    assert len(set(ours)) >= 5
    assert (ours == labels).mean() > 0.12  # it decides something


def test_features_of_a_pretrained_encoder_on_1000_images(photographs, tmp_path):
    """The encoder of a masked autoencoder: each image's nearest neighbour among the others is the same by both."""
    images, _ = photographs["test"]
    model = mrp.Model(encoder="vit_mini")
    model.pretrain(photographs["train"][0], epochs=2, batch_size=100, decoder_width=32, decoder_depth=1)
    model.export_onnx(tmp_path / "m.onnx")
    theirs = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(["features"], {"images": images})[0]
    ours = model.encode(images)
    close(theirs, ours, 1e-4)

    def nearest(features):
        features = features.astype(np.float64)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        similar = features @ features.T
        np.fill_diagonal(similar, -1)
        return similar.argmax(1)

    assert (nearest(theirs) == nearest(ours)).mean() >= 0.999
