"""Nuclei in microscope images: does pretraining without labels help to find them with few labelled images?

    .venv/bin/python benchmarks/dense/nuclei.py --data FOLDER --output build/nuclei run --seeds 0 1 2 [--network resnet|vit]
    .venv/bin/python benchmarks/dense/nuclei.py --data FOLDER --output build/nuclei otsu        (needs scikit-image)
    .venv/bin/python benchmarks/dense/nuclei.py --output build/nuclei report

FOLDER is the VOC folder of 664 images (Data Science Bowl 2018; split train 514, test 150). An encoder is pretrained on the 514 training
images without their masks, on windows at their own scale; then a segmenter learns 10, 25, 50 or all of them, from this encoder or from
scratch, with the same number of steps. The seed draws the labelled images, the first weights, the order and the windows. Measured on the
test images at their own size by windows: intersection over union of the nuclei, in percent.

Scratch has the best of four rates for each number of images by the test images of the first seed, which favours it; the pretrained encoder
has one rate. `otsu` is what a user would take without learning: Otsu's threshold of the gray image, the smaller part being nuclei.

Every run is a line of JSON in OUTPUT/results.jsonl, and is not repeated; a run that was stopped goes on from its checkpoint.
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

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet": {"encoder": "resnet18", "width": 32, "stem": "imagenet", "image_size": 96},
    "vit": {"encoder": "vit_micro", "width": 96, "depth": 6, "heads": 3, "patch_size": 8, "image_size": 96},
}
PRETRAIN = {"epochs": 150, "batch_size": 32, "warmup_epochs": 10, "augmentation": "random_crop_flip"}
FINETUNE = {
    "task": "segment", "augmentation": "random_crop_flip", "batch_size": 8, "pyramid_width": 64, "dice_weight": 0.5, "warmup_epochs": 0,
    "weight_decay": 0.05,
}  # fmt: skip
STEPS = 400
SIZES = (10, 25, 50, 514)
RATE = 1e-3
RATES = (5e-4, 1e-3, 2e-3, 4e-3)


def train(results: Results, model: mrp.Model, images: mrp.Dataset, phase: Any, name: str, **options: Any) -> float:
    """Trains in a folder of its own; returns seconds of the processor."""
    folder = results.output / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    config = options | {"threads": 1, "loader_threads": 1, "run_folder": str(folder), "keep_checkpoints": 1, "tensorboard": False}
    for _ in mrp.Trainer(model, images, config, phase=phase):
        pass
    for path in folder.glob("*.ckpt"):
        path.unlink()
    return round(time.process_time() - start, 1)


def pretrained(results: Results, args: argparse.Namespace, seed: int) -> Path:
    path = results.output / f"{args.network}-{seed}.safetensors"
    if not path.exists():
        model = mrp.Model(NETWORKS[args.network], seed=seed)
        images = mrp.MaskFolder(args.data, split="train")
        seconds = train(results, model, images, "pretrain", f"{args.network}-{seed}", seed=seed, **PRETRAIN)
        model.save(path)
        results.add(kind="encoder", network=args.network, seed=seed, seconds=seconds)
    return path


def segment(results: Results, args: argparse.Namespace, *, images: int, seed: int, rate: float, start: str) -> None:
    same = {"kind": "segment", "network": args.network, "images": images, "seed": seed, "rate": rate, "start": start}
    if results.find(**same):
        return
    model = mrp.Model.load(pretrained(results, args, seed)) if start == "pretrained" else mrp.Model(NETWORKS[args.network], seed=seed)
    labelled = mrp.MaskFolder(args.data, split="train").subset(images, random_state=seed)
    epochs = STEPS / -(-images // FINETUNE["batch_size"])
    name = f"{args.network}-{start}-{images}-{rate}-{seed}"
    seconds = train(results, model, labelled, "finetune", name, seed=seed, epochs=epochs, learning_rate=rate, **FINETUNE)
    counts = model.confusion_matrix(mrp.MaskFolder(args.data, split="test"), threads=1)
    iou = counts[1, 1] / (counts[1].sum() + counts[:, 1].sum() - counts[1, 1])
    results.add(**same, seconds=seconds, iou=round(100 * float(iou), 2))


def run(results: Results, args: argparse.Namespace) -> None:
    for images in args.images:
        for rate in RATES:
            segment(results, args, images=images, seed=args.seeds[0], rate=rate, start="scratch")
    for seed in args.seeds:
        for images in args.images:
            segment(results, args, images=images, seed=seed, rate=RATE, start="pretrained")
            segment(results, args, images=images, seed=seed, rate=best_rate(results, args, images), start="scratch")


def best_rate(results: Results, args: argparse.Namespace, images: int) -> float:
    swept = results.find(kind="segment", network=args.network, images=images, seed=args.seeds[0], start="scratch")
    return float(max(swept, key=lambda line: line["iou"])["rate"])


def otsu(results: Results, args: argparse.Namespace) -> None:
    from skimage.filters import threshold_otsu

    data = mrp.MaskFolder(args.data, split="test")
    both = either = 0
    for index in range(len(data)):
        image = data.image(index).mean(0)
        above = image > threshold_otsu(image)
        guess, truth = above if above.mean() < 0.5 else ~above, data.mask(index) == 1
        both, either = both + int((guess & truth).sum()), either + int((guess | truth).sum())
    results.add(kind="otsu", iou=round(100 * both / either, 2))


def report(results: Results, args: argparse.Namespace) -> bool:
    fine = True
    for network in NETWORKS:
        runs = results.find(kind="segment", network=network)
        if not runs:
            continue
        seeds = sorted({line["seed"] for line in runs if line["start"] == "pretrained"})
        print(f"\n{network}: IoU of the nuclei in percent, mean over the seeds {seeds} (each)\n")
        print("| labelled images | scratch, best rate | pretrained | gain |\n|---|---|---|---|")
        for images in SIZES:
            table = {start: by_seed(runs, images, start, seeds) for start in ("scratch", "pretrained")}
            if not seeds or any(len(values) < len(seeds) for values in table.values()):
                continue
            cells = [f"{np.mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})" for values in table.values()]
            gain = float(np.mean(table["pretrained"]) - np.mean(table["scratch"]))
            fine &= gain > 0 or images > 50
            print(f"| {images} | {cells[0]} | {cells[1]} | {gain:+.1f} |")
    for line in results.find(kind="otsu"):
        print(f"\nOtsu's threshold: {line['iou']:.1f}")
    return fine


def by_seed(runs: list[dict[str, Any]], images: int, start: str, seeds: list[int]) -> list[float]:
    """Of scratch the best rate of each number of images on the first seed."""
    own = [line for line in runs if line["images"] == images and line["start"] == start]
    if not own or not seeds:
        return []
    rate = max((line for line in own if line["seed"] == seeds[0]), key=lambda line: line["iou"], default=own[0])["rate"]
    return [line["iou"] for seed in seeds for line in own if line["seed"] == seed and line["rate"] == rate]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, default=Path("build/nuclei"))
    parser.add_argument("what", choices=("run", "otsu", "report"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--network", choices=tuple(NETWORKS), default="resnet")
    args = parser.parse_args()
    if args.what != "report" and args.data is None:
        parser.error("--data is needed")
    results = Results(args.output)
    if args.what == "report":
        return 0 if report(results, args) else 1
    (run if args.what == "run" else otsu)(results, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
