"""Training on a PJRT plug-in that computes on the processor, against the library's own engine; see docs/devices.md.

Every operation is compared in Tests/EngineTests/DevicePrimitiveTests.swift; here are whole runs through the public interface.
"""

import json
import os
from pathlib import Path
from typing import Any

import mrp
import numpy as np
import pytest
from mrp import _mrp

ROOT = Path(__file__).resolve().parents[2]
NEWEST = ROOT / "build/devices/lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so"
DEVICE = f"pjrt:{NEWEST}"

# Plug-ins read it when they start: what is tested is the program, not how fast it is.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

needs_plugin = pytest.mark.skipif(not NEWEST.exists(), reason="no PJRT plug-in for the processor: tools/setup_devices.sh installs it")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(16) % 4
VIT = {"encoder": "vit_micro", "image_size": 32, "patch_size": 8, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
RESNET = {"encoder": "resnet18", "image_size": 32, "width": 8}
CONVNEXT = {"encoder": "convnextv2_atto", "image_size": 32, "width": 8}
# Without Adam's division by the root of a moment, which makes a rounding error of a gradient that is zero a step of the weight.
SGD = {"optimizer": "sgd", "learning_rate": 0.01, "warmup_epochs": 0, "seed": 3, "batch_size": 8, "epochs": 50, "device_cache": ""}


def trained(steps: int, phase: str, **options: Any) -> tuple[list[float], dict[str, np.ndarray]]:
    """Losses and weights of the first steps of a run."""
    config = mrp.Config(**{**SGD, **options})
    model = mrp.Model(config)
    trainer = mrp.Trainer(model, mrp.Dataset(IMAGES, LABELS), config, phase=phase)
    losses = [progress.loss for progress, _ in zip(trainer, range(steps), strict=False)]
    names = [weight["name"] for weight in json.loads(_mrp.model_describe(model._handle))["weights"]]
    return losses, {name: model.parameter(name) for name in names}


def differences(left: tuple, right: tuple) -> tuple[float, float]:
    """Largest difference of the losses, and that of all weights together over their norm."""
    distance, norm = (
        np.sqrt(sum(np.square(each).sum(dtype=np.float64) for each in tensors))
        for tensors in ([left[1][name] - right[1][name] for name in left[1]], left[1].values())
    )
    return float(np.abs(np.subtract(left[0], right[0])).max()), float(distance / norm)


CASES = {
    "mae": ("pretrain", VIT),
    "mae, accumulated, clipped, averaged": ("pretrain", {**VIT, "accumulation_steps": 2, "clip_gradient": 0.1, "ema_decay": 0.9}),
    "maskfeat": ("pretrain", {**VIT, "objective": "maskfeat"}),
    "beit, layers dropped, recomputed": ("pretrain", {**VIT, "objective": "beit", "codebook_size": 8, "drop_path": 0.3, "recompute": True}),
    "data2vec": ("pretrain", {**VIT, "objective": "data2vec", "teacher_layers": 2}),
    "ijepa": ("pretrain", {**VIT, "objective": "ijepa", "patch_size": 4}),
    "spark convnext, lamb": ("pretrain", {**CONVNEXT, "objective": "spark", "optimizer": "lamb", "learning_rate": 1e-5}),
    "classify vit, mixed, adamw": ("finetune", {**VIT, "mixup": 0.8, "cutmix": 1.0, "optimizer": "adamw", "learning_rate": 1e-5}),
    "classify resnet, lars": ("finetune", {**RESNET, "optimizer": "lars"}),
}


@needs_plugin
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_processor(name: str) -> None:
    phase, options = CASES[name]
    steps = 4 if "resnet" in name or "convnext" in name else 10  # small batches of batch norms amplify rounding from step to step
    loss, weights = differences(trained(steps, phase, **options), trained(steps, phase, device=DEVICE, **options))
    assert loss < 1e-4
    assert weights < 1e-5


@needs_plugin
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_precisions(precision: str) -> None:
    loss, _ = differences(trained(4, "pretrain", **VIT), trained(4, "pretrain", device=DEVICE, matmul_precision=precision, **VIT))
    assert loss < (2e-2 if precision == "medium" else 1e-4)
    assert (loss > 1e-6) == (precision == "medium")


@needs_plugin
@pytest.mark.parametrize("name", ["mae", "classify vit, mixed, adamw"])
def test_two_devices_are_one(name: str) -> None:
    phase, options = CASES[name]
    options = {**options, "mixup": 0, "cutmix": 0}  # mixing stays within a share of the batch
    loss, weights = differences(trained(5, phase, **options), trained(5, phase, device=DEVICE, devices=2, **options))
    assert loss < 1e-5
    assert weights < 1e-5


@needs_plugin
@pytest.mark.parametrize("probe", ["knn", "linear"])
def test_probes(probe: str) -> None:
    data, model = mrp.Dataset(IMAGES, LABELS), mrp.Model(**VIT, seed=1)
    here, there = (model.probe(data, data, probe, knn_k=5, **more) for more in ({}, {"device": DEVICE, "device_cache": ""}))
    assert here == there


@needs_plugin
def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    config = mrp.Config(**{**SGD, **VIT, "learning_rate": 1e30}, device=DEVICE)
    model = mrp.Model(config)
    trainer = mrp.Trainer(model, mrp.Dataset(IMAGES), config)
    trainer.step()
    before = model.parameter("cls_token").copy()
    with pytest.raises(mrp.NumericError, match=r"step 1: the loss is .*first bad value is a result of"):
        trainer.step()
    assert (model.parameter("cls_token") == before).all()


@pytest.mark.parametrize(
    ("device", "error", "text"),
    [
        ("cuda", mrp.UnsupportedError, "no plug-in was found .* pip install jax-cuda13-pjrt"),
        ("pjrt:/nowhere/plugin.so", mrp.UnsupportedError, "no plug-in at /nowhere/plugin.so"),
        (f"pjrt:{_mrp.__file__}", mrp.UnsupportedError, "exports no GetPjrtApi: it is not"),
        ("gpu", mrp.ArgumentError, "'gpu' is none of: cpu, cuda, rocm, tpu, pjrt:"),
    ],
)
def test_devices_that_are_not_there(device: str, error: type, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MRP_PJRT_PLUGIN", raising=False)
    monkeypatch.setitem(os.environ, "MRP_PLUGIN_FOLDERS", "/nowhere")
    with pytest.raises(error, match=text):
        trained(1, "pretrain", device=device, **VIT)


@needs_plugin
@pytest.mark.parametrize(
    ("devices", "text"), [(9, "devices 9 is outside 1 ... 8"), (3, "a batch of 8 images is no multiple of the 3 devices")]
)
def test_devices_that_do_not_fit(devices: int, text: str) -> None:
    with pytest.raises(mrp.ArgumentError, match=text):
        trained(1, "pretrain", device=DEVICE, devices=devices, **VIT)
