"""Our files in their programs and theirs in ours: the outputs agree to 1e-5 of the largest magnitude (theirs in float32)."""

import os

import mrp
import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch_mae import MAEConfig, MaskedAutoencoder
from transformers import ViTConfig, ViTForImageClassification, ViTMAEConfig, ViTMAEForPreTraining, ViTModel

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(2)

# (width, depth, heads, mlp, height, width, patch height, patch width, channels)
BASE = (768, 12, 12, 3072, 224, 224, 16, 16, 3)
WIDE = (36, 3, 3, 50, 12, 20, 4, 5, 4)
GRAY = (20, 1, 5, 81, 9, 9, 3, 3, 1)
SIZES = pytest.mark.parametrize("size", [BASE, WIDE, GRAY], ids=["base", "wide", "gray"])


def scramble(module, seed=0):
    """Random weights of a size at which attention and norms matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            spread = 0.5 / value.shape[-1] ** 0.5 if value.ndim > 1 else 0.1
            value.copy_(torch.randn_like(value) * spread + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    return module.eval()


def hf_sizes(size):
    width, depth, heads, mlp, height, image_width, patch_height, patch_width, channels = size
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": mlp,
        "image_size": (height, image_width),
        "patch_size": (patch_height, patch_width),
        "num_channels": channels,
    }


def our_options(size):
    width, depth, heads, mlp, height, image_width, patch_height, patch_width, channels = size
    return {
        "width": width,
        "depth": depth,
        "heads": heads,
        "mlp_ratio": mlp / width,
        "image_height": height,
        "image_width": image_width,
        "patch_height": patch_height,
        "patch_width": patch_width,
        "channels": channels,
    }


def pixels(size, count=2):
    return np.random.default_rng(1).random((count, size[8], size[4], size[5]), np.float32)


def deviation(actual, expected):
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return np.abs(actual - expected).max() / np.abs(expected).max()


def close(actual, expected, limit=1e-5):
    assert deviation(actual, expected) <= limit


def timm_model(size, pool, classes=11):
    width, depth, heads, mlp, height, image_width, patch_height, patch_width, channels = size
    return timm.models.vision_transformer.VisionTransformer(
        img_size=(height, image_width),
        patch_size=(patch_height, patch_width),
        in_chans=channels,
        num_classes=classes,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=mlp / width,
        global_pool=pool,
    )


def fitted(size, pooling, classes=11):
    """A classifier of ours with weights that training has moved off their start."""
    model = mrp.Model(our_options(size), seed=3)
    rng = np.random.default_rng(2)
    images = rng.random((classes, size[8], size[4], size[5]), np.float32)
    model.finetune(
        mrp.Dataset(images, np.arange(classes, dtype=np.int32)),
        epochs=1,
        batch_size=classes,
        pooling=pooling,
        augmentation="none",
        base_learning_rate=0.05,
        mean=(0.0,) * size[8],
        std=(1.0,) * size[8],
    )
    return model


# -- Theirs in ours


@SIZES
def test_transformers_classifier_in_ours(size, tmp_path):
    theirs = scramble(ViTForImageClassification(ViTConfig(**hf_sizes(size), num_labels=11)))
    theirs.save_pretrained(tmp_path)
    images = pixels(size)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).logits.softmax(-1)
    for model in (mrp.Model.load(tmp_path), mrp.from_torch(theirs)):
        close(model.predict_proba(images), expected)


@SIZES
def test_transformers_encoder_in_ours(size, tmp_path):
    theirs = scramble(ViTModel(ViTConfig(**hf_sizes(size))))
    theirs.save_pretrained(tmp_path)
    images = pixels(size)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).last_hidden_state
    close(mrp.Model.load(tmp_path).encode(images, features="tokens"), expected)


@pytest.mark.parametrize("size", [BASE, GRAY], ids=["base", "gray"])
def test_transformers_autoencoder_in_ours_and_back(size, tmp_path):
    """Square images only: transformers' own patchify accepts no others."""
    sizes = hf_sizes(size) | {"image_size": size[4], "patch_size": size[6]}
    decoder = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 4, "decoder_intermediate_size": 44}
    theirs = scramble(ViTMAEForPreTraining(ViTMAEConfig(**sizes, **decoder, mask_ratio=0.6)))
    theirs.save_pretrained(tmp_path)
    images = pixels(size)
    patches = (size[4] // size[6]) ** 2
    noise = torch.rand(2, patches)
    with torch.no_grad():
        output = theirs(torch.from_numpy(images), noise=noise)
    model = mrp.Model.load(tmp_path)
    result = model.reconstruct(images, mask=output.mask.numpy().astype(np.uint8))
    grid, patch = size[4] // size[6], size[6]
    expected = output.logits.numpy().reshape(2, grid, grid, patch, patch, size[8]).transpose(0, 5, 1, 3, 2, 4).reshape(images.shape)
    hidden = np.kron(output.mask.numpy().reshape(2, 1, grid, grid), np.ones((1, size[8], patch, patch)))
    close(result.reconstructions * hidden, expected * hidden)
    # And back: each spelling, loaded by transformers without a missing or an unexpected key.
    for style in ("hub", "transformers5", "transformers5_saved"):
        folder = tmp_path / style
        folder.mkdir()
        model.save(folder, names=style)
        again, info = ViTMAEForPreTraining.from_pretrained(folder, output_loading_info=True)
        assert not any(info.values()), (style, info)
        with torch.no_grad():
            close(again.eval()(torch.from_numpy(images), noise=noise).logits, output.logits, 0)
    assert again.config.layer_norm_eps == theirs.config.layer_norm_eps
    theirs.load_state_dict(mrp.to_torch_state_dict(model, style="transformers5"))


@SIZES
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_timm_in_ours(size, pool, tmp_path):
    theirs = scramble(timm_model(size, pool))
    images = pixels(size)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).softmax(-1)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    sizes = {"heads": size[2], "image_height": size[4], "image_width": size[5]}
    for model in (mrp.Model.load(tmp_path, **sizes), mrp.from_torch(theirs), mrp.from_torch(theirs.state_dict(), **sizes)):
        close(model.predict_proba(images), expected)


@pytest.mark.parametrize("size", [BASE, WIDE, GRAY], ids=["base", "wide", "gray"])
def test_the_definition_of_mae_in_ours_and_back(size):
    width, depth, heads, _, height, image_width, patch_height, patch_width, channels = size
    config = MAEConfig(
        channels, (height, image_width), (patch_height, patch_width), width, depth, heads, 4, 32, 2, 4, mask_ratio=0.6, norm_pix_loss=False
    )
    theirs = scramble(MaskedAutoencoder(config))
    images = pixels(size)
    noise = torch.rand(2, config.patches)
    with torch.no_grad():
        output = theirs(torch.from_numpy(images), noise)
    options = {"heads": heads, "decoder_heads": 4, "image_height": height, "image_width": image_width}
    model = mrp.from_torch(dict(theirs.state_dict()), **options)
    result = model.reconstruct(images, mask=output.mask.numpy().astype(np.uint8))
    assert abs(result.loss - output.loss.item()) <= 1e-5 * output.loss.item()
    theirs.load_state_dict(mrp.to_torch_state_dict(model, style="timm"))
    with torch.no_grad():
        close(theirs(torch.from_numpy(images), noise).pred, output.pred, 0)


# -- Ours in theirs


@SIZES
def test_our_classifier_in_transformers(size, tmp_path):
    model = fitted(size, "cls")
    model.save(tmp_path)
    theirs, info = ViTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    images = pixels(size)
    with torch.no_grad():
        close(model.predict_proba(images), theirs.eval()(torch.from_numpy(images)).logits.softmax(-1))


@SIZES
@pytest.mark.parametrize(("pooling", "pool"), [("cls", "token"), ("mean", "avg")])
def test_our_classifier_in_timm(size, pooling, pool, tmp_path):
    model = fitted(size, pooling)
    model.save(tmp_path / "m.safetensors", names="timm")
    theirs = timm_model(size, pool).eval()
    theirs.load_state_dict(load_file(tmp_path / "m.safetensors"))
    images = pixels(size)
    with torch.no_grad():
        close(model.predict_proba(images), theirs(torch.from_numpy(images)).softmax(-1))


# -- ONNX


@SIZES
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_onnx_of_a_classifier(size, pooling, tmp_path):
    model = fitted(size, pooling)
    path = str(tmp_path / "m.onnx")
    model.export_onnx(path)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path)
    images = pixels(size, 5)
    for count in (1, 5):
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images[:count]})
        assert logits.shape == (count, 11)
        close(probabilities, model.predict_proba(images[:count]), 1e-4)
    many = np.random.default_rng(4).random((1000 if size is not BASE else 20, *images.shape[1:]), np.float32)
    decisions = session.run(["logits"], {"images": many})[0].argmax(1)
    assert np.array_equal(decisions, model.predict_proba(many).argmax(1))


@SIZES
@pytest.mark.parametrize("options", [{"features": "mean"}, {"features": "cls"}, {"features": "tokens"}, {"features": "cls", "layer": 1}])
def test_onnx_of_an_encoder(size, options, tmp_path):
    model = mrp.Model(our_options(size), seed=5)
    path = str(tmp_path / "m.onnx")
    model.export_onnx(path, **options)
    onnx.checker.check_model(path, full_check=True)
    images = pixels(size, 3)
    close(onnxruntime.InferenceSession(path).run(["features"], {"images": images})[0], model.encode(images, **options), 1e-4)


def test_onnx_standardises_inside(tmp_path):
    model = mrp.Model(image_size=8, patch_size=4, width=16, depth=1, heads=2)
    images = pixels((0, 0, 0, 0, 8, 8, 4, 4, 3), 16) * 0.3 + 0.4
    model.pretrain(images, epochs=1, batch_size=16, decoder_width=8, decoder_depth=1, decoder_heads=1)
    assert "mean" in model.info["libmrp"]
    model.export_onnx(tmp_path / "m.onnx")
    close(onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(None, {"images": images})[0], model.encode(images), 1e-4)
