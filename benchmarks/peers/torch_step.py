"""Times PyTorch eager steps, for benchmarks/compare.py: answers each line of standard input with a line of JSON.

The protocol is described in benchmarks/peers/README.md. By hand: `printf '1\\n5\\n' | python torch_step.py mae_vit_tiny_32`.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch_dense import Pyramid, Segmenter
from torch_mae import (
    MAE_PRESETS,
    Classifier,
    MaskedAutoencoder,
    encoder_config,
    finetune_groups,
    finetune_step,
    pretrain_groups,
    pretrain_step,
)
from torch_resnet import RESNETS, NarrowResNet, ResNetConfig

BATCHES = {
    "mae_vit_tiny_32": 64,
    "mae_vit_base_224": 8,
    "mae_vit_cifar": 256,
    "sup_vit_tiny_32": 128,
    "sup_vit_base_224": 8,
    "sup_vit_cifar": 128,
    "sup_resnet18_cifar": 128,
    "sup_resnet50_224": 8,
    "segment_resnet18_128": 16,
}
"""Images per step of each workload; sup_X is the classifier of mae_X's encoder."""

OPTIMIZERS: dict[str, dict[str, Any]] = {"default": {}, "fused": {"fused": True}, "foreach": {"foreach": True}}


def build(workload: str, batch: int, inference: bool, optimizer_kind: str) -> Callable[[], float]:
    """A function that runs one step on fixed images and returns its loss (inference: the mean output)."""
    if workload.startswith("segment_"):
        return segment_step(batch, inference, optimizer_kind)
    if workload in RESNETS:
        return resnet_step(RESNETS[workload], batch, inference, optimizer_kind)
    pretraining = workload.startswith("mae_")
    config = MAE_PRESETS[workload if pretraining else "mae_" + workload.removeprefix("sup_")]
    images = torch.randn(batch, config.channels, *config.image)
    if inference:
        return inference_step(Classifier(encoder_config(config), 10), images)
    settings = OPTIMIZERS[optimizer_kind]
    if pretraining:
        autoencoder = MaskedAutoencoder(config)
        optimizer = torch.optim.AdamW(pretrain_groups(autoencoder, 0.05), lr=1e-4, betas=(0.9, 0.95), **settings)
        return lambda: pretrain_step(autoencoder, optimizer, images, torch.rand(batch, config.patches))
    classifier = Classifier(encoder_config(config), 10)
    labels = torch.randint(10, (batch,))
    optimizer = torch.optim.AdamW(finetune_groups(classifier, 1e-4, 0.05), **settings)
    return lambda: finetune_step(classifier, optimizer, images, labels, 0.1)


def resnet_step(config: ResNetConfig, batch: int, inference: bool, optimizer_kind: str) -> Callable[[], float]:
    """The same for a residual network, channels last: the faster of PyTorch's two layouts."""
    model = NarrowResNet(config).to(memory_format=torch.channels_last)
    images = torch.randn(batch, config.channels, config.image_height, config.image_width).to(memory_format=torch.channels_last)
    if inference:
        return inference_step(model, images)
    labels = torch.randint(config.classes, (batch,))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, **OPTIMIZERS[optimizer_kind])

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def segment_step(batch: int, inference: bool, optimizer_kind: str) -> Callable[[], float]:
    """Classes of pixels by ResNet-18 with a feature pyramid, channels last."""
    classes, width, side = 7, 256, 128
    encoder = NarrowResNet(ResNetConfig("resnet18", "imagenet", 64, 3, side, side, 2))
    model = Segmenter(encoder, Pyramid([64, 128, 256, 512], width), width, classes).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    if inference:
        return inference_step(model, images)
    labels = torch.randint(classes, (batch, side, side))
    parameters = [parameter for name, parameter in model.named_parameters() if not name.startswith("encoder.fc.")]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, **OPTIMIZERS[optimizer_kind])

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference_step(model: nn.Module, images: torch.Tensor) -> Callable[[], float]:
    """Class scores of all patches, without gradients."""
    model.eval()

    def step() -> float:
        with torch.inference_mode():
            return model(images).mean().item()

    return step


def emit(message: dict[str, Any]) -> None:
    """One line of JSON, at once."""
    print(json.dumps(message), flush=True)


def main() -> None:
    """Reads how many steps to run, line by line, until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=sorted(BATCHES))
    parser.add_argument("--batch", type=int, help="images per step (default: the workload's)")
    parser.add_argument("--inference", action="store_true", help="the classifier's forward pass only")
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="default")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    batch = arguments.batch or BATCHES[arguments.workload]
    step = build(arguments.workload, batch, arguments.inference, arguments.optimizer)
    emit(
        {
            "name": f"torch {torch.__version__} eager",
            "workload": arguments.workload,
            "mode": "inference" if arguments.inference else "train",
            "optimizer": arguments.optimizer,
            "batch": batch,
            "threads": torch.get_num_threads(),
        }
    )
    for line in sys.stdin:
        steps = int(line)
        begin = time.perf_counter()
        loss = 0.0
        for _ in range(steps):
            loss = step()
        emit({"steps": steps, "seconds": time.perf_counter() - begin, "loss": loss})
    emit({"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})


if __name__ == "__main__":
    main()
