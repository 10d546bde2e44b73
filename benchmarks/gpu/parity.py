"""Ten training steps on a device against the same steps in the library's own CPU engine: prints a line of JSON.

    python3 benchmarks/gpu/parity.py mae_vit --precision highest --device cuda

Both see the same weights, images, order, masks and random numbers. `loss_difference`: the largest relative difference of a step's loss;
`weight_difference`: |device - CPU| / |CPU| over all weights together (Euclidean); `worst`: the same of the worst weight alone. Where the
true gradient of a weight is zero, as for the bias of attention's keys, AdamW makes whole steps of rounding errors, so `worst` may be large
there. `engine_difference` is the yardstick: the loss of the CPU engine's baseline instructions against its best ones, which differ in
rounding alone. A fresh ResNet-50 with batch norm doubles and redoubles rounding errors: ten steps there part by percents, on any machine.
"""

from __future__ import annotations

import argparse
import time

import mrp
import numpy as np
from ours import answer, device_arguments, device_options

VIT = {"encoder": "vit_micro", "patch_size": 4, "decoder_width": 64, "decoder_depth": 2, "decoder_heads": 2}
RESNET = {"width": 16, "decoder_width": 64}
CASES = {
    "mae_vit": ("pretrain", VIT | {"clip_gradient": 1.0}),
    "sup_vit": ("finetune", VIT | {"drop_path": 0.1, "accumulation_steps": 2, "ema_decay": 0.9, "pooling": "cls"}),
    "data2vec_vit": ("pretrain", VIT | {"objective": "data2vec"}),
    "spark_resnet18": ("pretrain", RESNET | {"encoder": "resnet18"}),
    "sup_resnet50": ("finetune", RESNET | {"encoder": "resnet50", "optimizer": "sgd", "learning_rate": 0.002}),
    "spark_convnext": ("pretrain", {"encoder": "convnextv2_atto", "decoder_width": 64}),
    "sup_convnext": ("finetune", {"encoder": "convnextv2_atto"}),
}
"""Phase and options of each."""

COMMON = {"image_size": 32, "batch_size": 16, "learning_rate": 2e-4, "schedule": "constant", "warmup_epochs": 0, "epochs": 1000, "seed": 3}
STEPS = 10


def images() -> tuple[np.ndarray, np.ndarray]:
    """Smooth random pictures, as natural ones are, with labels."""
    rng = np.random.default_rng(1)
    coarse = rng.standard_normal((64, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    pixels = 128 + 50 * coarse + 12 * rng.standard_normal((64, 32, 32, 3))
    return pixels.clip(0, 255).astype(np.uint8), np.arange(64) % 10


def run(phase: str, options: dict[str, object]) -> tuple[list[float], dict[str, np.ndarray], float]:
    """Losses of the steps, all weights after them, seconds."""
    start = time.perf_counter()
    config = mrp.Config(**options)
    model = mrp.Model(config)
    trainer = mrp.Trainer(model, mrp.Dataset(*images()), config, phase=phase)
    losses = []
    for _ in range(STEPS):
        trainer.step()
        losses.append(trainer.progress.loss)
    weights = {weight["name"]: model.parameter(weight["name"]).astype(np.float64) for weight in model.info["weights"]}
    return losses, weights, time.perf_counter() - start


def largest(losses: list[float], expected: list[float]) -> float:
    """The largest relative difference."""
    return max(abs(a - b) / abs(b) for a, b in zip(losses, expected))


def main() -> None:
    """One case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=sorted(CASES))
    device_arguments(parser)
    parser.set_defaults(precision="highest")
    args = parser.parse_args()
    phase, options = CASES[args.case]
    options = COMMON | options
    expected, cpu, cpu_seconds = run(phase, options)
    baseline, _, _ = run(phase, options | {"instructions": "baseline", "convolutions": "direct"})
    losses, device, device_seconds = run(phase, options | device_options(args))
    difference = {name: float(np.linalg.norm(device[name] - cpu[name])) for name in cpu}
    size = {name: float(np.linalg.norm(cpu[name])) for name in cpu}
    worst = max(cpu, key=lambda name: difference[name] / max(size[name], 1e-30))
    answer(
        loss_difference=largest(losses, expected), engine_difference=largest(baseline, expected),
        weight_difference=float(np.linalg.norm(list(difference.values())) / np.linalg.norm(list(size.values()))),
        worst=[worst, difference[worst] / max(size[worst], 1e-30)],
        losses=losses, cpu_losses=expected, seconds=round(device_seconds, 2), cpu_seconds=round(cpu_seconds, 2),
    )  # fmt: skip


if __name__ == "__main__":
    main()
