"""CIFAR-10 with few labels in plain PyTorch: MAE pretraining and fine-tuning against training from scratch.

    build/peers/bin/python benchmarks/cifar10/torch_baseline.py pretrain --data FOLDER --minutes 20 --output build/encoder.pt
    build/peers/bin/python benchmarks/cifar10/torch_baseline.py train --data FOLDER --labels 5000 --encoder build/encoder.pt
    build/peers/bin/python benchmarks/cifar10/torch_baseline.py train --data FOLDER --labels 5000

FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg. Network: ViT, patch 4, width 128, depth 6, 4 heads, fixed sin-cos
positions; decoder width 96, depth 2. `train` is the same recipe with and without an encoder, apart from the layer decay. Prints a
line of JSON per report and per epoch, and the result as the last line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
from torch_mae import (
    MAE_PRESETS,
    Classifier,
    MaskedAutoencoder,
    cosine_lr,
    encoder_config,
    finetune_groups,
    finetune_step,
    load_encoder,
    pretrain_groups,
    pretrain_step,
    set_lr,
)

CONFIG = MAE_PRESETS["mae_vit_cifar"]
CLASSES = 10


@dataclass(frozen=True)
class Split:
    """images: uint8 [N, 3, 32, 32]; labels: int64 [N], classes in the alphabetical order of their folders."""

    images: Tensor
    labels: Tensor


def read_split(data: Path, name: str) -> Split:
    """Decodes <data>/<name>/<class>/*.jpg once; the arrays are kept in <data>/<name>.npz."""
    cache = data / f"{name}.npz"
    if not cache.exists():
        files = sorted((data / name).glob("*/*.jpg"))
        if not files:
            raise SystemExit(f"{data / name}: no <class>/*.jpg in it")
        classes = sorted({file.parent.name for file in files})
        images = np.stack([np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1) for file in files])
        np.savez(cache, images=images, labels=np.array([classes.index(file.parent.name) for file in files]))
    stored = np.load(cache)
    return Split(torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"]))


def stratified(split: Split, count: int, seed: int) -> Split:
    """The same number of images of every class, count in all."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in range(CLASSES):
        members = (split.labels == label).nonzero().squeeze(1)
        chosen.append(members[torch.randperm(len(members), generator=generator)[: count // CLASSES]])
    indices = torch.cat(chosen)
    return Split(split.images[indices], split.labels[indices])


class Normaliser:
    """(x / 255 - mean) / std per channel, measured on the training images."""

    def __init__(self, images: Tensor) -> None:
        values = images[::10].float().div(255)
        self.mean = values.mean((0, 2, 3)).view(1, 3, 1, 1)
        self.std = values.std((0, 2, 3)).view(1, 3, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] -> float32."""
        return (images.float().div(255) - self.mean) / self.std


def augment(images: Tensor) -> Tensor:
    """Reflect-pad by 4, crop 32 x 32 at random, flip half of them; float32 [B, 3, 32, 32]."""
    batch, _, height, width = images.shape
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    rows = torch.arange(height) + torch.randint(9, (batch, 1))
    columns = torch.arange(width) + torch.randint(9, (batch, 1))
    columns = torch.where(torch.rand(batch, 1) < 0.5, columns.flip(1), columns)
    cropped = padded[torch.arange(batch)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2).contiguous()


def emit(**values: float | str | bool | None) -> None:
    """One line of JSON, at once."""
    print(json.dumps(values), flush=True)


def batches(count: int, size: int) -> list[Tensor]:
    """A shuffled epoch's indices in full batches; the rest is left out."""
    order = torch.randperm(count)
    return [order[start : start + size] for start in range(0, count - size + 1, size)]


def pretrain(arguments: argparse.Namespace) -> None:
    """MAE on all training images, for a time or a number of images; the rate follows the share of it that is used up."""
    split = read_split(arguments.data, "train")
    normalise = Normaliser(split.images)
    model = MaskedAutoencoder(CONFIG)
    optimizer = torch.optim.AdamW(pretrain_groups(model, 0.05), lr=arguments.lr, betas=(0.9, 0.95))
    begin, seen, report = time.monotonic(), 0, 0.0
    recent: list[float] = []
    while True:
        for indices in batches(len(split.images), arguments.batch):
            elapsed = time.monotonic() - begin
            done = seen / arguments.images if arguments.images else elapsed / (60 * arguments.minutes)
            if done >= 1:
                torch.save({"model": model.state_dict(), "mean": normalise.mean, "std": normalise.std}, arguments.output)
                loss = sum(recent) / max(1, len(recent))
                emit(phase="pretrain", images=seen, seconds=elapsed, loss=loss, lr=arguments.lr, seed=arguments.seed, done=True)
                return
            set_lr(optimizer, cosine_lr(done, lr=arguments.lr, min_lr=0.0, warmup_epochs=0.05, epochs=1.0))
            images = augment(normalise(split.images[indices]))
            recent = [*recent[-99:], pretrain_step(model, optimizer, images, torch.rand(len(images), CONFIG.patches))]
            seen += len(images)
            elapsed = time.monotonic() - begin
            if elapsed >= report:
                emit(phase="pretrain", images=seen, seconds=elapsed, loss=sum(recent) / len(recent), images_per_second=seen / elapsed)
                report = elapsed + arguments.report


def evaluate(model: Classifier, split: Split, normalise: Normaliser) -> tuple[float, float]:
    """Top-1 accuracy in percent and mean cross entropy."""
    model.eval()
    correct, loss = 0, 0.0
    with torch.inference_mode():
        for images, labels in zip(split.images.split(500), split.labels.split(500), strict=True):
            logits = model(normalise(images))
            correct += int((logits.argmax(1) == labels).sum())
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
    model.train()
    return 100 * correct / len(split.labels), loss / len(split.labels)


def train(arguments: argparse.Namespace) -> None:
    """Fine-tunes the encoder, or trains the same network from scratch, on a few labels."""
    full, test = read_split(arguments.data, "train"), read_split(arguments.data, "test")
    normalise = Normaliser(full.images)
    few = stratified(full, arguments.labels, arguments.subset_seed)
    model = Classifier(encoder_config(CONFIG), CLASSES)
    layer_decay = arguments.layer_decay if arguments.encoder else 1.0
    if arguments.encoder:
        pretrained = MaskedAutoencoder(CONFIG)
        pretrained.load_state_dict(torch.load(arguments.encoder, weights_only=True)["model"])
        load_encoder(model, pretrained)
    optimizer = torch.optim.AdamW(finetune_groups(model, arguments.lr, 0.05, layer_decay), lr=arguments.lr)
    settings: dict[str, float | str] = {
        "phase": "finetune" if arguments.encoder else "scratch",
        "labels": arguments.labels,
        "lr": arguments.lr,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
    }
    begin = time.monotonic()
    for epoch in range(arguments.epochs):
        losses = []
        order = batches(len(few.labels), arguments.batch)
        for step, indices in enumerate(order):
            now = epoch + step / len(order)
            warmup = 0.1 * arguments.epochs
            set_lr(optimizer, cosine_lr(now, lr=arguments.lr, min_lr=0.0, warmup_epochs=warmup, epochs=arguments.epochs))
            images = augment(normalise(few.images[indices]))
            losses.append(finetune_step(model, optimizer, images, few.labels[indices], 0.1))
        last = epoch + 1 == arguments.epochs
        accuracy, test_loss = evaluate(model, test, normalise) if last or arguments.curve else (None, None)
        emit(
            **settings,
            epoch=epoch + 1,
            train_loss=sum(losses) / max(1, len(losses)),
            test_top1=accuracy,
            test_loss=test_loss,
            seconds=time.monotonic() - begin,
        )


def main() -> None:
    """Reads the command line and runs one of the two phases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, required=True, help="folder with train/<class>/*.jpg and test/<class>/*.jpg")
    common.add_argument("--seed", type=int, default=0, help="start weights, order, augmentation, masks")
    common.add_argument("--threads", type=int, default=2)
    phases = parser.add_subparsers(dest="phase", required=True)
    first = phases.add_parser("pretrain", parents=[common], help="MAE without labels")
    first.add_argument("--minutes", type=float, default=20.0)
    first.add_argument("--images", type=int, help="stop after so many images instead of a time (the stored run saw 466000)")
    first.add_argument("--lr", type=float, default=1.5e-3)
    first.add_argument("--batch", type=int, default=256)
    first.add_argument("--report", type=float, default=30.0, help="seconds between reports")
    first.add_argument("--output", type=Path, required=True)
    second = phases.add_parser("train", parents=[common], help="with few labels, from --encoder or from scratch")
    second.add_argument("--encoder", type=Path)
    second.add_argument("--labels", type=int, default=5000)
    second.add_argument("--subset-seed", type=int, default=0, help="which labels")
    second.add_argument("--epochs", type=int, default=20)
    second.add_argument("--lr", type=float, default=1e-3)
    second.add_argument("--layer-decay", type=float, default=0.75, help="with --encoder only")
    second.add_argument("--batch", type=int, default=128)
    second.add_argument("--curve", action="store_true", help="test after every epoch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    (pretrain if arguments.phase == "pretrain" else train)(arguments)


if __name__ == "__main__":
    main()
