#!/usr/bin/env python3
"""The paper's single-view test on images: a pretrained and fine-tuned network against the same one trained from scratch with the same
labels, on test images with half of the object hidden.

    .venv/bin/python benchmarks/single_view.py                                  # generated two-part images, from nothing
    .venv/bin/python benchmarks/single_view.py --data FOLDER [--encoder FILE]   # FOLDER/train/<class>/..., FOLDER/test/<class>/...

Generated images: each class has two discriminative parts. Training images show both (5 % only one); the test is split into images with both
and images with one. Folders: the left, right, upper or lower half of each test image is replaced by the mean colour of the training images.
Architecture ViT, patch 4, width 128, depth 6; same labels, augmentation and budget; only the learning rate and its decay over layers differ
(--scratch-rates: the best of them, chosen on the whole test images, which favours scratch).
"""

import argparse
import time
from pathlib import Path

import mrp
import numpy as np

PRESET = "mae_vit_mini_32"
FINETUNE = {"batch_size": 32, "label_smoothing": 0.1, "weight_decay": 0.05}
Tests = dict[str, mrp.Dataset]


def generated(args: argparse.Namespace) -> tuple[mrp.Dataset, mrp.Dataset, Tests]:
    """Training images, those with labels, and the tests."""
    train = mrp.Dataset.generate(args.images, random_state=1, synthetic_single_view=0.05)
    first, tests = args.images, {}
    for name, share in (("both parts", 0.0), ("one part hidden", 1.0)):
        tests[name] = mrp.Dataset.generate(args.test, random_state=1, synthetic_single_view=share, synthetic_first_image=first)
        first += args.test
    return train, train.subset(args.labels, random_state=0), tests


def folders(args: argparse.Namespace) -> tuple[mrp.Dataset, mrp.Dataset, Tests]:
    train = mrp.ImageFolder(args.data / "train")
    test = mrp.ImageFolder(args.data / "test").subset(args.test, random_state=0)
    images, labels = test.images(size=32), test.labels
    few = train.subset(args.labels, random_state=0)
    colour = few.images(size=32).mean(axis=(0, 2, 3))[:, None, None]
    half = images.shape[2] // 2
    tests = {"whole": mrp.Dataset(images, labels)}
    for name, place in (
        ("left half hidden", np.s_[:, :, :, :half]),
        ("right half hidden", np.s_[:, :, :, half:]),
        ("upper half hidden", np.s_[:, :, :half]),
        ("lower half hidden", np.s_[:, :, half:]),
    ):
        hidden = images.copy()
        hidden[place] = colour
        tests[name] = mrp.Dataset(hidden, labels)
    return train, few, tests


def train_and_test(model: mrp.Model, few: mrp.Dataset, tests: Tests, rate: float, seed: int, args: argparse.Namespace) -> dict[str, float]:
    config = mrp.Config(PRESET, threads=args.threads, seed=seed, epochs=args.finetune_epochs, learning_rate=rate, **FINETUNE)
    model.finetune(few, config)
    return {name: model.evaluate(test, "top1", config) for name, test in tests.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="image folders; without it images are generated")
    parser.add_argument("--encoder", type=Path, help="a pretrained model of the preset mae_vit_mini_32; without it one is pretrained")
    parser.add_argument("--images", type=int, default=4000, help="generated training images")
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=10, help="of the pretraining")
    parser.add_argument("--finetune-epochs", type=float, default=20)
    parser.add_argument("--finetune-rate", type=float, default=1e-3)
    parser.add_argument("--scratch-rates", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    start = time.process_time()
    train, few, tests = folders(args) if args.data else generated(args)
    if args.encoder:
        pretrained = mrp.Model.load(args.encoder)
    else:
        config = mrp.Config(PRESET, threads=args.threads, epochs=args.epochs, seed=0)
        pretrained = mrp.Model(config)
        pretrained.pretrain(train, config)
        seconds = time.process_time() - start
        print(f"pretrained on {len(train)} images without labels, {args.epochs:g} epochs: {seconds:.0f} s of processor time")
    first = next(iter(tests))
    rows: dict[str, list[dict[str, float]]] = {"pretrained, fine-tuned": [], "from scratch": []}
    for seed in range(args.seeds):
        rows["pretrained, fine-tuned"].append(train_and_test(pretrained.copy(), few, tests, args.finetune_rate, seed, args))
        config = mrp.Config(PRESET, threads=args.threads, seed=seed)
        runs = [train_and_test(mrp.Model(config), few, tests, rate, seed, args) for rate in args.scratch_rates]
        rows["from scratch"].append(max(runs, key=lambda run: run[first]))
    print(f"\n{args.labels} labels, {args.finetune_epochs:g} epochs, {args.test} test images, {args.seeds} seeds; top-1 in %\n")
    print("| test images | pretrained, fine-tuned | from scratch | difference |\n|---|---|---|---|")
    for name in tests:
        ours, scratch = (100 * np.mean([run[name] for run in runs]) for runs in rows.values())
        print(f"| {name} | {ours:.1f} | {scratch:.1f} | {ours - scratch:+.1f} |")
    print(f"\n{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
