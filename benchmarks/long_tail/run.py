"""CIFAR-10 with a long tail: losses from scratch, and the same losses after masked pretraining on the same images.

    .venv/bin/python benchmarks/long_tail/run.py --data FOLDER --output build/long_tail losses --seeds 0 1 2 10 11 12
    .venv/bin/python benchmarks/long_tail/run.py --data FOLDER --output build/long_tail pretraining --seeds 0 1 2
    .venv/bin/python benchmarks/long_tail/run.py --output build/long_tail report

FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg. The seed draws the images, which class is rare, the first weights and the order.
Every run is a line of JSON in OUTPUT/results.jsonl, and is not repeated; a run that was stopped goes on from its checkpoint. `report`
prints the tables and the verdicts and exits with 1 where one of them fails.

losses: a small residual network from scratch on 2,480 images (1,000 of the largest class, 10 of the rarest).
    ce, la, balanced, sampler    one view of each image
    la3                          logit adjustment on three views: the compute of proco
    proco, proco1                with its two views, with the classifier's own
  `posthoc` is ce with prior=uniform at test time: no run of its own.
pretraining: a small vision transformer on 4,960 images (2,000 to 20): MAE on these images without labels, then each loss; beside it each
loss from scratch, at the best of four rates on seed 0 by the test images' balanced accuracy, which favours scratch.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import mrp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from results import Results

IMBALANCE = 100
NETWORK = {"encoder": "resnet18", "width": 16, "stem": "imagenet", "image_size": 32}
RECIPE = {
    "optimizer": "sgd", "nesterov": True, "learning_rate": 0.1, "weight_decay": 5e-4, "warmup_epochs": 2, "batch_size": 64,
    "epochs": 30, "label_smoothing": 0, "proco_width": 64,
}  # fmt: skip
ARMS: dict[str, dict[str, Any]] = {
    "ce": {"loss": "cross_entropy"},
    "la": {"loss": "logit_adjusted"},
    "balanced": {"loss": "balanced"},
    "sampler": {"loss": "cross_entropy", "sampler": "class_balanced"},
    "la3": {"loss": "logit_adjusted", "views": 3},
    "proco": {"loss": "proco"},
    "proco1": {"loss": "proco", "proco_views": 0},
}
TRANSFORMER = {
    "encoder": "vit_micro", "image_size": 32, "patch_size": 8, "decoder_width": 64, "decoder_depth": 1, "decoder_heads": 2,
}  # fmt: skip
PRETRAIN = {"epochs": 100, "batch_size": 64, "base_learning_rate": 4e-3}
FINETUNE = {"epochs": 15, "batch_size": 64, "label_smoothing": 0, "weight_decay": 0.05}
RATE = 1e-3
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
LOSSES = ("cross_entropy", "balanced", "logit_adjusted", "proco")


def long_tail(data: Path, largest: int, seed: int) -> tuple[mrp.Dataset, np.ndarray]:
    """The images, and the classes from the most frequent to the rarest."""
    counts = mrp.long_tail(classes=10, largest=largest, imbalance=IMBALANCE, random_state=1000 + seed)
    return mrp.ImageFolder(data / "train").select(counts, random_state=seed), np.argsort(-counts, kind="stable")


def shares(model: mrp.Model, test: mrp.Dataset, order: np.ndarray, **options: Any) -> dict[str, float]:
    """Top-1 in percent over all classes, the three most frequent ones, the four between, the three rarest."""
    each = 100 * model.class_accuracies(test, threads=1, loader_threads=0, **options)[order]
    return {
        name: round(float(part.mean()), 2) for name, part in zip(("all", "many", "medium", "few"), (each, each[:3], each[3:7], each[7:]))
    }


def train(results: Results, model: mrp.Model, images: mrp.Dataset, phase: Any, name: str, **options: Any) -> float:
    """Trains in a folder of its own; returns seconds of the processor."""
    folder = results.output / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    config = options | {"threads": 1, "loader_threads": 0, "run_folder": str(folder), "keep_checkpoints": 1, "tensorboard": False}
    for _ in mrp.Trainer(model, images, config, phase=phase):
        pass
    return round(time.process_time() - start, 1)


def finish(results: Results, name: str) -> None:
    """Checkpoints of a run whose result is written are of no more use."""
    for path in (results.output / "runs" / name).glob("*.ckpt"):
        path.unlink()


def losses(results: Results, args: argparse.Namespace) -> None:
    test = mrp.ImageFolder(args.data / "test")
    for arm in args.arms:
        for seed in args.seeds:
            if results.find(kind="losses", arm=arm, seed=seed):
                continue
            images, order = long_tail(args.data, 1000, seed)
            model = mrp.Model(NETWORK, seed=seed)
            name = f"losses-{arm}-{seed}"
            seconds = train(results, model, images, "finetune", name, seed=seed, **RECIPE, **ARMS[arm])
            more = {"posthoc": shares(model, test, order, prior="uniform")} if arm == "ce" else {}
            results.add(kind="losses", arm=arm, seed=seed, seconds=seconds, **shares(model, test, order), **more)
            finish(results, name)


def pretraining(results: Results, args: argparse.Namespace) -> None:
    test = mrp.ImageFolder(args.data / "test")
    names = [name for name in args.losses if name in LOSSES]
    for rate in RATES:
        fit(results, args, test, seed=args.seeds[0], loss="logit_adjusted", rate=rate, pretrained=False)
    swept = results.find(kind="pretraining", seed=args.seeds[0], loss="logit_adjusted", pretrained=False)
    best = max(swept, key=lambda line: line["all"])["rate"]
    for seed in args.seeds:
        for loss in names:
            for pretrained in (True, False):
                fit(results, args, test, seed=seed, loss=loss, rate=RATE if pretrained else best, pretrained=pretrained)


def fit(results: Results, args: argparse.Namespace, test: mrp.Dataset, *, seed: int, loss: str, rate: float, pretrained: bool) -> None:
    same = {"seed": seed, "loss": loss, "rate": rate, "pretrained": pretrained}
    if results.find(kind="pretraining", **same):
        return
    images, order = long_tail(args.data, 2000, seed)
    encoder = results.output / f"encoder-{seed}.safetensors"
    if pretrained and not encoder.exists():
        model = mrp.Model(TRANSFORMER, seed=seed)
        seconds = train(results, model, images, "pretrain", f"pretrain-{seed}", seed=seed, **PRETRAIN)
        model.save(encoder)
        results.add(kind="encoder", seed=seed, seconds=seconds)
        finish(results, f"pretrain-{seed}")
    model = mrp.Model.load(encoder) if pretrained else mrp.Model(TRANSFORMER, seed=seed)
    name = f"{'finetune' if pretrained else 'scratch'}-{loss}-{rate}-{seed}"
    seconds = train(results, model, images, "finetune", name, seed=seed, loss=loss, learning_rate=rate, **FINETUNE)
    more = {"posthoc": shares(model, test, order, prior="uniform")} if loss == "cross_entropy" else {}
    results.add(kind="pretraining", **same, seconds=seconds, **shares(model, test, order), **more)
    finish(results, name)


# ---- Report


def row(line: dict[str, float]) -> str:
    return f"{line['all']:.1f} ({line['many']:.1f}/{line['medium']:.1f}/{line['few']:.1f})"


def table(title: str, rows: dict[str, dict[int, dict[str, float]]]) -> None:
    seeds = sorted({seed for row_ in rows.values() for seed in row_})
    print(f"| {title} | {' | '.join(f'seed {seed}' for seed in seeds)} | mean all |\n|---|{'---|' * (len(seeds) + 1)}")
    for name, each in rows.items():
        cells = [row(each[seed]) if seed in each else "" for seed in seeds]
        print(f"| {name} | {' | '.join(cells)} | {np.mean([line['all'] for line in each.values()]):.1f} |")


def verdict(name: str, held: list[bool]) -> bool:
    print(f"{'holds' if held and all(held) else 'FAILS' if held else 'not run'}: {name} ({sum(held)} of {len(held)} seeds)")
    return all(held)


def loss_verdicts(rows: dict[str, dict[int, dict[str, float]]]) -> bool:
    """The thresholds of related_part1.md, section 4.3c, per seed."""

    def each(first: str, second: str, test: Any) -> list[bool]:
        a, b = rows.get(first, {}), rows.get(second, {})
        return [bool(test(a[seed], b[seed])) for seed in sorted(a.keys() & b.keys())]

    return all(
        [
            verdict("la - ce >= 3 points of all", each("la", "ce", lambda a, b: a["all"] - b["all"] >= 3)),
            verdict("la - ce >= 12 points of few", each("la", "ce", lambda a, b: a["few"] - b["few"] >= 12)),
            verdict("post hoc within 2.5 points of la", each("posthoc", "la", lambda a, b: abs(a["all"] - b["all"]) <= 2.5)),
            verdict("proco - ce >= 6 points of all", each("proco", "ce", lambda a, b: a["all"] - b["all"] >= 6)),
            verdict("proco >= la - 1", each("proco", "la", lambda a, b: a["all"] >= b["all"] - 1)),
        ]
    )


def report(results: Results) -> bool:
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for arm in ("ce", "posthoc", "balanced", "sampler", "la", "la3", "proco", "proco1"):
        for line in results.find(kind="losses", arm="ce" if arm == "posthoc" else arm):
            rows.setdefault(arm, {})[line["seed"]] = line["posthoc"] if arm == "posthoc" else line
    held = True
    if rows:
        table("scratch, top-1: all (many/medium/few)", rows)
        held = loss_verdicts(rows)
    both: dict[str, dict[int, dict[str, float]]] = {}
    sweep = results.find(kind="pretraining", loss="logit_adjusted", pretrained=False)
    best = max((line for line in sweep if line["seed"] == 0), key=lambda line: line["all"], default={"rate": None})["rate"]
    for pretrained in (False, True):
        for loss in LOSSES:
            for line in results.find(kind="pretraining", loss=loss, pretrained=pretrained):
                if pretrained or line["rate"] == best:
                    name = f"{'pretrained' if pretrained else 'scratch'}, {loss}"
                    both.setdefault(name, {})[line["seed"]] = line
                    if "posthoc" in line:
                        both.setdefault(f"{name}, prior uniform", {})[line["seed"]] = line["posthoc"]
    if both:
        tried = ", ".join(f"{line['rate']}: {line['all']}" for line in sweep if line["seed"] == 0)
        print(f"\nscratch at the rate {best}, the best of {tried}")
        table("with pretraining, top-1: all (many/medium/few)", both)
        for loss in LOSSES:
            ours, theirs = both.get(f"pretrained, {loss}", {}), both.get(f"scratch, {loss}", {})
            held &= verdict(f"{loss}: pretrained above scratch", [ours[s]["all"] > theirs[s]["all"] for s in ours.keys() & theirs.keys()])
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    parts = commands.add_parser("losses")
    parts.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parts.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parts = commands.add_parser("pretraining")
    parts.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parts.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    commands.add_parser("report")
    args = parser.parse_args()
    results = Results(args.output)
    if args.command == "report":
        return 0 if report(results) else 1
    (losses if args.command == "losses" else pretraining)(results, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
