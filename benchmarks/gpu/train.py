"""CIFAR-10 in some minutes of a device: ViT-Ti/4, MAE for as many epochs as fit, then fine-tuning with all labels. Prints a line of JSON.

    python3 benchmarks/gpu/train.py --data build/gpu-data/cifar10.tar.xz --minutes 8 --device cuda

Published: 89.77 % after 2,000 epochs of MAE and 100 of fine-tuning, 74.13 % from scratch (github.com/IcarusWizard/MAE: ViT-Ti with patches
of 2 x 2, so four times as many tokens, no augmentation in fine-tuning, the best epoch on the test images). Here the last epoch counts.
The speed of both phases is measured first; fine-tuning gets its epochs or two fifths of the time, pretraining the rest.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cifar10
import mrp
from ours import answer, device_arguments, device_options

NETWORK = {"encoder": "vit_tiny", "image_size": 32, "patch_size": 4, "decoder_width": 128, "decoder_depth": 4, "decoder_heads": 4}
TINY = {"encoder": "vit_micro", "patch_size": 8, "decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2}
TINY |= {"pretrain.batch_size": 32, "finetune.batch_size": 32}
RECIPE = {
    "weight_decay": 0.05,
    "pretrain.batch_size": 1024,
    "pretrain.learning_rate": 2.4e-3,
    "finetune.batch_size": 512,
    "finetune.learning_rate": 2e-3,
    "finetune.min_learning_rate": 1e-6,
    "finetune.layer_decay": 0.75,
    "finetune.drop_path": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "label_smoothing": 0.1,
}
PROBE_STEPS = 24
SHARE = 0.4
"""Of the time for fine-tuning, where its epochs take as much."""
MARGIN = 1.05
"""Planned steps take this much longer than those that were measured."""
RESERVE = 12.0
"""Seconds kept for evaluation, loading executables and the last step."""
LEAST = 5.0
"""Seconds that each phase gets where the time is up already."""


class Training:
    """Options, data and clock of the whole."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.end = time.monotonic() + 60 * args.minutes
        self.options: dict[str, Any] = NETWORK | RECIPE | (TINY if args.tiny else {}) | device_options(args)
        self.options |= {"loader_threads": args.loader_threads} | dict(pair.split("=", 1) for pair in args.set)
        train, test = cifar10.generated(2048) if args.data is None else cifar10.load(args.data)
        self.train, self.test = mrp.Dataset(*train), mrp.Dataset(*test)

    def left(self) -> float:
        """Seconds until the end."""
        return self.end - time.monotonic()

    def left_for_steps(self) -> float:
        """The same without the reserve."""
        return max(self.left() - RESERVE, LEAST)

    def epoch_seconds(self, phase: str) -> float:
        """Seconds of an epoch, measured on a network of its own."""
        config = mrp.Config(**self.options | {"epochs": 10000.0})
        trainer = mrp.Trainer(mrp.Model(config), self.train, config, phase=phase)
        for _ in range(PROBE_STEPS // 3):  # compiles, fills queues
            trainer.step()
        start = time.perf_counter()
        for _ in range(PROBE_STEPS):
            trainer.step()
        return (time.perf_counter() - start) / PROBE_STEPS * trainer.plan.steps / 10000.0

    def run(self, model: mrp.Model, phase: str, epochs: float, seconds: float) -> dict[str, Any]:
        """One phase; `seconds` stop it where the speed was misjudged."""
        config = mrp.Config(**self.options | {"epochs": round(epochs, 2), "time_budget": seconds})
        trainer, losses, start = mrp.Trainer(model, self.train, config, phase=phase), [], time.monotonic()
        for progress in trainer:
            if int(progress.epoch) > len(losses):
                losses.append(round(progress.mean_loss, 4))
        seconds = time.monotonic() - start
        done = trainer.progress.epoch
        rate = done * len(self.train) / seconds
        course = losses[:: max(1, len(losses) // 10)]
        return {
            "epochs": round(done, 2),
            "planned": round(epochs, 2),
            "seconds": round(seconds, 1),
            "images_per_second": round(rate),
            "loss": course,
        }


def main() -> None:
    """Pretraining, fine-tuning, accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    device_arguments(parser)
    parser.add_argument("--data", type=Path, help="folder or archive of CIFAR-10 (default: random pictures)")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--finetune-epochs", type=float, default=100)
    parser.add_argument("--loader-threads", type=int, default=8)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="another option, as finetune.rand_augment=m9-mstd0.5"
    )
    args = parser.parse_args()
    training = Training(args)
    pretrain_seconds, finetune_seconds = training.epoch_seconds("pretrain"), training.epoch_seconds("finetune")
    left = training.left_for_steps()
    finetune_epochs = min(args.finetune_epochs, SHARE * left / finetune_seconds)
    budget = max(left - finetune_epochs * finetune_seconds * MARGIN, LEAST)
    model = mrp.Model(mrp.Config(**training.options))
    pretrain = training.run(model, "pretrain", min(2000.0, budget / pretrain_seconds / MARGIN), budget)
    left = training.left_for_steps()
    # A fine-tuning that is stopped before its rate has come down is worth little: its limit is a wide one.
    finetune = training.run(model, "finetune", min(args.finetune_epochs, left / finetune_seconds / MARGIN), left + 2 * RESERVE)
    top1 = model.evaluate(training.test, "top1", mrp.Config(**device_options(args)))
    answer(
        top1=round(100 * top1, 2), published=89.77, published_scratch=74.13, pretrain=pretrain, finetune=finetune,
        minutes=round(args.minutes - training.left() / 60, 2), options=training.options,
    )  # fmt: skip


if __name__ == "__main__":
    main()
