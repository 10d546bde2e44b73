"""ConvNeXt V2 of timm in ours and back, and the decoder of SparK beside a residual network."""

import mrp
import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from test_interop import close
from torch_resnet import NarrowResNet, ResNetConfig


def pixels(channels, height, width, count=3):
    return np.random.default_rng(1).random((count, channels, height, width), np.float32)


@pytest.mark.parametrize("name", ["convnextv2_atto", "convnextv2_tiny"])
def test_timm_in_ours_and_back(name, tmp_path):
    theirs = timm.create_model(name, num_classes=7).eval()
    for key, parameter in theirs.named_parameters():
        if ".grn." in key:
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    images = pixels(3, 96, 70)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).softmax(-1)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    size = {"image_height": 96, "image_width": 70}
    for model in (mrp.Model.load(tmp_path, **size), mrp.from_torch(theirs, **size)):
        assert (model.info["architecture"], model.info["stem"]) == (name, "imagenet")
        close(model.predict_proba(images), expected)
    model.save(tmp_path / "ours.safetensors")
    again = timm.create_model(name, num_classes=7).eval()
    again.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    with torch.no_grad():
        close(again(torch.from_numpy(images)).softmax(-1), expected, 0)


@pytest.mark.parametrize(("name", "size"), [("convnextv2_atto", (96, 70)), ("convnextv2_tiny", (64, 64))])
def test_onnx(name, size, tmp_path):
    images = pixels(3, *size)
    model = mrp.Model(encoder=name, image_height=size[0], image_width=size[1], stem="imagenet")
    labels = np.arange(3, dtype=np.int32)
    model.finetune(mrp.Dataset(images, labels), epochs=1, batch_size=3, base_learning_rate=0.05, warmup_epochs=0, augmentation="none")
    path = str(tmp_path / "m.onnx")
    model.export_onnx(path)
    onnx.checker.check_model(path, full_check=True)
    for count in (1, 3):
        found = onnxruntime.InferenceSession(path).run(["probabilities"], {"images": images[:count]})[0]
        close(found, model.predict_proba(images[:count]), 1e-4)
    for options in ({"features": "mean"}, {"features": "tokens", "layer": 2}):
        model.export_onnx(path, classifier="new", **options)
        onnx.checker.check_model(path, full_check=True)
        close(onnxruntime.InferenceSession(path).run(["features"], {"images": images})[0], model.encode(images, **options), 1e-4)


def test_a_pretrained_encoder_in_torchvision(tmp_path):
    """The decoder's weights stand beside torchvision's; those of the encoder are all there and moved."""
    images = pixels(3, 32, 32, 16)
    model = mrp.Model(encoder="resnet18", width=4)
    before = model.parameter("layer4.1.conv2.weight")
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "augmentation": "none"}
    model.pretrain(mrp.Dataset(images), epochs=2, batch_size=8, decoder_width=16, **plain)
    model.save(tmp_path / "m.safetensors")
    theirs = NarrowResNet(ResNetConfig("resnet18", "cifar", 4, 3, 32, 32, 10)).eval()
    missing, unexpected = theirs.load_state_dict(load_file(tmp_path / "m.safetensors"), strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"}
    assert {name.split(".")[0] for name in unexpected} == {"mask_tokens", "densify_norms", "densify_projs", "dense_decoder"}
    assert not np.array_equal(before, model.parameter("layer4.1.conv2.weight"))
    theirs.fc = torch.nn.Identity()
    with torch.no_grad():
        close(model.encode(images), theirs(torch.from_numpy(images)))
    assert mrp.Model.load(tmp_path / "m.safetensors").info["cell_size"] == 8
