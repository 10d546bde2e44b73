"""CIFAR-10 as a label tree: what fine labels in training do for the two coarse classes, and on which images.

    .venv/bin/python benchmarks/labels/run.py --data FOLDER --output build/labels train --seeds 0 1 2 10 11 12
    .venv/bin/python benchmarks/labels/run.py --output build/labels report

FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg; the classes are called animal/bird, vehicle/ship and so on. The seed draws 5,000
training images, the first weights and the order. Each arm trains a small residual network; all are measured on the two coarse
classes of the 10,000 test images (label_level 1).

    slice          coarse labels, another seed: an independent network, whose least sure fifth of the images is the slice
    coarse         two coarse labels
    fine           ten fine labels, answers summed (level_readout sum) and by the largest score (max)
    random         control: ten labels drawn at random inside the coarse classes, four and six
    kmeans         fine labels from Dataset.cluster: five clusters in each coarse class, on the features of `coarse`
    kmeans_mae     the same on the features of a small MAE that was pretrained on these images without labels
    fine_frozen, coarse_frozen   those encoders, frozen, with a new head for the coarse labels

Predictions are files in OUTPUT, and an arm that has them is not repeated; a run that was stopped goes on from its checkpoint. `report`
prints the tables and the verdicts and exits with 1 where one of them fails.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import mrp
import numpy as np

VEHICLES = ("airplane", "automobile", "ship", "truck")
IMAGES = 5_000
# Nearest to the specification's network (16, 32, 64 channels, a stem with stride 2) in width and cost: a step takes 50 ms of a core.
NETWORK = {"encoder": "resnet18", "width": 16, "stem": "imagenet", "image_size": 32}
RECIPE = {
    "optimizer": "sgd", "nesterov": True, "learning_rate": 0.1, "weight_decay": 5e-4, "warmup_epochs": 1, "batch_size": 64,
    "epochs": 12, "label_smoothing": 0, "augmentation": "pad_crop_flip",
}  # fmt: skip
HEAD = {"frozen_encoder": True, "epochs": 5, "batch_size": 64, "label_smoothing": 0, "augmentation": "pad_crop_flip"}
# Masks of a residual network are as coarse as its downsampling: a transformer makes the features without labels.
MAE = {"encoder": "vit_micro", "image_size": 32, "patch_size": 8, "decoder_width": 64, "decoder_depth": 1, "decoder_heads": 2}
PRETRAIN = {"epochs": 60, "batch_size": 64, "base_learning_rate": 4e-3}
ARMS = ("slice", "coarse", "fine", "random", "kmeans", "fine_frozen", "coarse_frozen", "kmeans_mae")


def tree(name: str) -> str:
    return f"{'vehicle' if name in VEHICLES else 'animal'}/{name}"


def in_memory(folder: mrp.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The pixels, and the names of the classes."""
    names = np.array([tree(name) for name in folder.class_names])
    return np.rint(255 * folder.images()).astype(np.uint8), names[folder.labels]


def dataset(pixels: np.ndarray, names: np.ndarray) -> mrp.Dataset:
    classes, labels = np.unique(names, return_inverse=True)
    return mrp.Dataset(pixels, labels.astype(np.int32), layout="NCHW").with_class_names(classes)


def random_names(names: np.ndarray, seed: int) -> np.ndarray:
    """As many fine classes as there are, drawn anew inside each coarse class."""
    numbers = np.random.default_rng(50 + seed)
    coarse = np.array([name.split("/")[0] for name in names])
    counts = {group: len({name for name in names if name.startswith(group)}) for group in set(coarse)}
    return np.array([f"{group}/{numbers.integers(counts[group])}" for group in coarse])


class Arms:
    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.output, self.seed = args.output, seed
        self.output.mkdir(parents=True, exist_ok=True)
        self.test = dataset(*in_memory(mrp.ImageFolder(args.data / "test")))
        self.pixels, self.names = in_memory(mrp.ImageFolder(args.data / "train").subset(IMAGES, random_state=seed))
        self.images = dataset(self.pixels, self.names)

    def path(self, arm: str, end: str) -> Path:
        return self.output / f"{arm}-{self.seed}{end}"

    def model(self, arm: str) -> mrp.Model:
        return mrp.Model.load(self.path(arm, ".safetensors"))

    def train(self, arm: str, model: mrp.Model, images: mrp.Dataset, phase: Any = "finetune", **options: Any) -> None:
        """Trains in a folder of its own, whose checkpoints are of no more use when the predictions are there."""
        folder, start = self.path(arm, ""), time.process_time()
        options |= {"threads": 1, "loader_threads": 0, "run_folder": str(folder), "keep_checkpoints": 1, "tensorboard": False}
        for _ in mrp.Trainer(model, images, options, phase=phase):
            pass
        model.save(self.path(arm, ".safetensors"))
        if phase == "finetune":
            settings = {"label_level": 1, "threads": 1, "loader_threads": 0}
            shares = {readout: model.predict_proba(self.test, level_readout=readout, **settings) for readout in ("sum", "max")}
            np.savez(self.path(arm, ".npz"), labels=[name.startswith("vehicle") for name in self.truth()], **shares)
            seconds = time.process_time() - start
            print(f"seed {self.seed} {arm}: {100 * model.evaluate(self.test, **settings):.2f} %, {seconds:.0f} s", flush=True)
        for path in folder.glob("*.ckpt"):
            path.unlink()

    def truth(self) -> np.ndarray:
        return np.array(self.test.class_names)[self.test.labels]

    def run(self, arm: str) -> None:
        if self.path(arm, ".npz").exists():
            return
        seed = self.seed + 1_000 * (arm == "slice")
        options: dict[str, Any] = {**RECIPE, "seed": seed}
        model, images = mrp.Model(NETWORK, seed=seed), self.images
        match arm:
            case "slice" | "coarse":
                options["label_level"] = 1
            case "random":
                images = dataset(self.pixels, random_names(self.names, seed))
            case "kmeans" | "kmeans_mae":
                coarse = dataset(self.pixels, np.array([name.split("/")[0] for name in self.names]))
                images = coarse.cluster(self.features(arm), per_class=5, seed=seed, threads=1, loader_threads=0)
            case "fine_frozen" | "coarse_frozen":
                model, options = self.model(arm.removesuffix("_frozen")), {**HEAD, "seed": seed, "label_level": 1}
        self.train(arm, model, images, **options)

    def features(self, arm: str) -> mrp.Model:
        if arm == "kmeans":
            return self.model("coarse")
        if not self.path("mae", ".safetensors").exists():
            self.train("mae", mrp.Model(MAE, seed=self.seed), self.images, "pretrain", seed=self.seed, **PRETRAIN)
        return self.model("mae")


def shares(output: Path, arm: str, readout: str, seed: int) -> dict[str, float] | None:
    """Accuracy in percent on all images, the unsure fifth of the independent network, the rest, and what that gets wrong."""
    paths = [output / f"{name}-{seed}.npz" for name in ("slice", arm)]
    if not all(path.exists() for path in paths):
        return None
    judge, found = np.load(paths[0]), np.load(paths[1])
    truth = judge["labels"].astype(int)
    sure = np.abs(np.log(judge["sum"][:, 1]) - np.log(judge["sum"][:, 0]))
    unsure = sure < np.quantile(sure, 0.2)
    right = found[readout].argmax(1) == truth
    parts = {"all": slice(None), "unsure": unsure, "sure": ~unsure, "wrong": judge["sum"].argmax(1) != truth}
    return {name: float(100 * right[part].mean()) for name, part in parts.items()}


ROWS = {
    "coarse": ("coarse", "sum"), "fine, sum": ("fine", "sum"), "fine, max": ("fine", "max"), "random": ("random", "sum"),
    "k-means on coarse": ("kmeans", "sum"), "k-means on MAE": ("kmeans_mae", "sum"), "fine, frozen": ("fine_frozen", "sum"),
    "coarse, frozen": ("coarse_frozen", "sum"),
}  # fmt: skip


def report(args: argparse.Namespace) -> int:
    status = 0
    for title, seeds in (("seeds of the specification", (0, 1, 2)), ("seeds that nobody tuned on", (10, 11, 12))):
        table = {row: [shares(args.output, arm, readout, seed) for seed in seeds] for row, (arm, readout) in ROWS.items()}
        print(f"\n{title}: {', '.join(map(str, seeds))}")
        print("| trained on | all | unsure fifth | the rest | wrong of the independent net |\n|---|---|---|---|---|")
        for row, found in table.items():
            columns = [
                " ".join("-" if part is None else f"{part[name]:.2f}" for part in found) for name in ("all", "unsure", "sure", "wrong")
            ]
            print(f"| {row} | {' | '.join(columns)} |")
        status |= verdicts({row: found for row, found in table.items() if None not in found})
    return status


def verdicts(table: dict[str, Any]) -> int:
    if not {"coarse", "fine, sum", "fine, max", "random"} <= set(table):
        print("not all arms of these seeds are there")
        return 1

    def gain(row: str, part: str, base: str = "coarse") -> np.ndarray:
        return np.array([a[part] - b[part] for a, b in zip(table[row], table[base])])

    unsure, rest, random = gain("fine, sum", "unsure"), gain("fine, sum", "sure"), gain("random", "unsure")
    readout = gain("fine, sum", "all", "fine, max")
    claims = {
        f"unsure fifth: fine - coarse {unsure.mean():+.2f} >= 3 in the mean": unsure.mean() >= 3,
        f"unsure fifth: the least of the seeds {unsure.min():+.2f} >= 2": unsure.min() >= 2,
        f"the rest: fine - coarse {rest.mean():+.2f} within 0.5": abs(rest.mean()) <= 0.5,
        f"control, unsure fifth: random - coarse {random.mean():+.2f} <= 1.5": random.mean() <= 1.5,
        f"all: sum - max {readout.mean():+.2f} > 0": readout.mean() > 0,
    }
    for text, holds in claims.items():
        print(f"{'holds' if holds else 'FAILS'}  {text}")
    for row in ("k-means on coarse", "k-means on MAE", "fine, frozen", "coarse, frozen"):
        if row in table:
            print(f"       unsure fifth: {row} - coarse {gain(row, 'unsure').mean():+.2f}, all {gain(row, 'all').mean():+.2f}")
    return int(not all(claims.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("command", choices=("train", "report"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    args = parser.parse_args()
    if args.command == "report":
        return report(args)
    for seed in args.seeds:
        arms = Arms(args, seed)
        for arm in args.arms:
            arms.run(arm)
    return 0


if __name__ == "__main__":
    sys.exit(main())
