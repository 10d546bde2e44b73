"""The same training steps in PyTorch on the same card: prints a line of JSON.

    python3 benchmarks/gpu/torch_peer.py mae_vit_base_224 --precision medium --mode compile

medium: bfloat16 autocast; high: float32 with TF32 products; highest: float32. Attention is scaled_dot_product_attention, the optimiser is
fused AdamW, ResNet-50 is channels last, cuDNN may choose its kernels by timing. Images are uint8 on the card and normalised there, masks
are drawn there, nothing waits for the host: in PyTorch's favour, whose loader is not measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ours import answer, device_arguments, device_bytes
from torch import Tensor, nn
from turns import alone, compiling
from workloads import WORKLOADS, Workload

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
from torch_mae import MAEConfig, MaskedAutoencoder, pretrain_groups
from torch_resnet import NarrowResNet, ResNetConfig

Loss = Callable[[Tensor], Tensor]
ENCODERS = {"vit_base": (768, 12, 12), "vit_tiny": (192, 12, 3), "vit_micro": (96, 4, 3)}
"""Width, depth, heads."""


class MAELoss(nn.Module):
    """Loss of a masked autoencoder on bytes, masks included."""

    def __init__(self, model: MaskedAutoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """[B, H, W, 3] uint8 -> scalar."""
        noise = torch.rand(images.shape[0], self.model.config.patches, device=images.device)
        return self.model(normalised(images), noise).loss


class ClassifierLoss(nn.Module):
    """Cross entropy of a classifier on bytes."""

    def __init__(self, model: nn.Module, labels: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("labels", labels)

    def forward(self, images: Tensor) -> Tensor:
        """[B, H, W, 3] uint8 -> scalar."""
        return F.cross_entropy(self.model(normalised(images)).float(), self.labels, label_smoothing=0.1)


def normalised(images: Tensor) -> Tensor:
    """[B, H, W, 3] uint8 -> [B, 3, H, W] float32, in memory channels last."""
    return ((images.float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)


def build(workload: Workload, tiny: bool, device: torch.device) -> tuple[nn.Module, list[dict[str, Any]], tuple[float, float]]:
    """The loss as a module, groups of parameters, betas."""
    options = workload.config(tiny)
    image, batch, _ = workload.sizes(tiny)
    if workload.phase == "pretrain":
        width, depth, heads = ENCODERS[options["encoder"]]
        patch = options["patch_size"]
        decoder = {key: options[key] for key in ("decoder_width", "decoder_depth", "decoder_heads")}
        config = MAEConfig(image=(image, image), patch=(patch, patch), width=width, depth=depth, heads=heads, **decoder)
        autoencoder = MaskedAutoencoder(config).to(device)
        return MAELoss(autoencoder), pretrain_groups(autoencoder, 0.05), (0.9, 0.95)
    stem = "imagenet" if image >= 64 else "cifar"
    network = NarrowResNet(ResNetConfig(options["encoder"], stem, options.get("width", 64), 3, image, image, 10))
    network = network.to(device, memory_format=torch.channels_last)
    decayed = [p for p in network.parameters() if p.dim() > 1]
    rest = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return ClassifierLoss(network, torch.arange(batch, device=device) % 10), groups, (0.9, 0.999)


def main() -> None:
    """One workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    device_arguments(parser)
    parser.add_argument("--mode", choices=["eager", "compile"], default="eager")
    parser.add_argument("--seconds", type=float, default=5, help="of steps that are timed")
    args = parser.parse_args()
    device = torch.device("cuda" if args.device == "cuda" else "cpu")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = args.precision != "highest"
    torch.set_float32_matmul_precision("highest" if args.precision == "highest" else "high")
    workload = WORKLOADS[args.workload]
    image, batch, _ = workload.sizes(args.tiny)
    module, groups, betas = build(workload, args.tiny, device)
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=betas, fused=True)
    pool = [torch.randint(256, (batch, image, image, 3), dtype=torch.uint8, device=device) for _ in range(4)]
    function: Loss = torch.compile(module) if args.mode == "compile" else module
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def steps(count: int) -> Tensor:
        """Runs `count` steps; the loss of the last."""
        loss = torch.zeros(())
        for number in range(count):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "medium"):
                loss = function(pool[number % len(pool)])
            loss.backward()
            optimizer.step()
        return loss

    def timed(count: int) -> float:
        """Seconds of a step."""
        synchronize()
        start = time.perf_counter()
        steps(count)
        synchronize()
        return (time.perf_counter() - start) / count

    with compiling():
        start = time.perf_counter()
        first_loss = steps(1).item()
        first = time.perf_counter() - start
        steps(1)
        synchronize()
    with alone() as undisturbed:
        steps(4)
        each = max(2, round(args.seconds / 5 / timed(4)))
        seconds = [timed(each) for _ in range(5)]
        step = statistics.median(seconds)
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
        answer(
            images_per_second=round(batch / step, 1), step_ms=round(1000 * step, 3), spread=round(min(seconds) / max(seconds), 3),
            first_step_seconds=round(first, 2), first_loss=first_loss, loss=steps(1).item(), batch=batch, alone=undisturbed,
            device_bytes=device_bytes(), peak_bytes=peak, torch=torch.__version__,
        )  # fmt: skip


if __name__ == "__main__":
    main()
