"""Montage pretraining on CIFAR-10: are the embeddings of a tile and of its whole image the same, and what of it can be used?

    .venv/bin/python benchmarks/dense/montage.py --data FOLDER --output build/montage train --seeds 1 2 11 12 13
    .venv/bin/python benchmarks/dense/montage.py --output build/montage report

FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg. Each arm pretrains a narrow residual network without labels on 30,000 training
images for the same processor time (`--seconds`, 60): whole images of 32 x 32 pixels and 2 x 2 montages of them. The seed draws weights,
views and order.

    montage        two levels, one predictor for both
    image          control: one level, whole images only, for the same time (more steps)
    per_level      control: a predictor for each level, as Guo et al. 2023 have it
    shuffled       control: tiles are told to be other images than they show
    untrained      control: the first weights

Measured on images of the test set, never augmented, with running statistics (the teacher with those of its batch):

    tile finds image     share of tiles whose embedding at level 1 is nearest, among 128, to that of their whole image at level 0
    through predictor    the same with the predictor's answer against the teacher's embeddings
    classifier on tiles  logistic regression on the embeddings of 5,000 whole images, used on tiles: read at level 1, or at level 0 (where a
                         tile has 2 x 2 positions)
    probes               logistic regression on the last two stages: on whole images; trained and used on cells of montages; the label of
                         the cell to the right, of which a cell should know little (chance 0.1)

An arm that has its result is not repeated; a run that was stopped goes on from its checkpoint. `report` prints the tables and the verdicts,
and exits with 1 where one of them fails.
"""

import argparse
import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import mrp
import numpy as np

IMAGES, LABELLED, TESTED = 30_000, 5_000, 4_000
# The last two stages are as wide as those of the specification; a step of two levels takes a second of a busy core.
WIDTH = 16
NETWORK = {"encoder": "resnet18", "width": WIDTH, "stem": "cifar", "image_size": 32}
RECIPE = {
    "objective": "montage", "montage_levels": 2, "montage_sides": 1, "montage_temperature": 0.2, "pyramid_width": 64,
    "projection_width": 128, "projection_hidden": 256, "montage_convolutions": 1, "batch_size": 128,
    "optimizer": "sgd", "learning_rate": 0.06, "momentum": 0.9,
    "weight_decay": 5e-4, "threads": 1, "loader_threads": 0, "tensorboard": False, "keep_checkpoints": 1,
}  # fmt: skip
ARMS: dict[str, dict[str, Any]] = {
    "montage": {}, "image": {"montage_levels": 1}, "per_level": {"montage_predictor": "per_level"},
    "shuffled": {"montage_labels": "shuffled"}, "untrained": {},
}  # fmt: skip
Weights = dict[str, np.ndarray]


def in_memory(folder: mrp.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return np.rint(255 * folder.images()).astype(np.uint8), np.asarray(folder.labels)


def montages(pixels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """2 x 2 montages, tile t being image order[t], made smaller by averages; [N / 4, 3, 32, 32]."""
    small = pixels.reshape(len(pixels), 3, 16, 2, 16, 2).mean((3, 5))[order].reshape(-1, 2, 2, 3, 16, 16)
    return np.rint(small.transpose(0, 3, 1, 4, 2, 5).reshape(-1, 3, 32, 32)).astype(np.uint8)


# ---- Pyramid, head and predictor of a checkpoint, written out


def tensors(path: Path) -> tuple[Weights, dict[str, Any]]:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] == "F32":
            found[name] = np.frombuffer(data[8 + length + begin : 8 + length + end], np.float32).reshape(entry["shape"])
    return found, json.loads(metadata["libmrp.state"])


class Networks:
    """Encoder, pyramid and head; with `prefix` the teacher's, whose batch norms take the statistics of the batch."""

    def __init__(self, weights: Weights, prefix: str = "") -> None:
        self.weights, self.prefix = weights, prefix

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        w = {key: self.weights.get(f"{self.prefix}{name}.{key}") for key in ("weight", "bias", "running_mean", "running_var")}
        axes = tuple(range(x.ndim - 1))
        mean, var = (x.mean(axes), x.var(axes)) if self.prefix else (w["running_mean"], w["running_var"])
        y = (x - mean) / np.sqrt(var + 1e-5)
        return y if w["weight"] is None else y * w["weight"] + w["bias"]

    def conv(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        """x [N, H, W, C]."""
        w = self.weights[f"{self.prefix}{name}.weight"]
        kernel = w.shape[2]
        if kernel == 1:
            return x[:, ::stride, ::stride] @ w[:, :, 0, 0].T
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        size = [(side - 1) // stride + 1 for side in x.shape[1:3]]
        taps = [padded[:, i : i + stride * size[0] : stride, j : j + stride * size[1] : stride] for i in range(3) for j in range(3)]
        taps = [tap[:, : size[0], : size[1]] for tap in taps]
        return np.concatenate(taps, -1) @ w.transpose(2, 3, 1, 0).reshape(-1, len(w))

    def stages(self, x: np.ndarray) -> list[np.ndarray]:
        x = np.maximum(self.norm("bn1", self.conv("conv1", x.transpose(0, 2, 3, 1))), 0)
        maps = []
        for layer in range(1, 5):
            for block in range(2):
                name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
                y = np.maximum(self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x, stride)), 0)
                y = self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", y))
                if stride > 1:
                    x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
                x = np.maximum(x + y, 0)
            maps.append(x)
        return maps

    def pyramid(self, maps: list[np.ndarray], level: int) -> np.ndarray:
        """The coarsest map (level 0) or the one below."""
        inner = self.norm("fpn.lateral_norm.3", self.conv("fpn.lateral.3", maps[3]))
        if level == 1:
            inner = inner.repeat(2, 1).repeat(2, 2) + self.norm("fpn.lateral_norm.2", self.conv("fpn.lateral.2", maps[2]))
        return self.norm(f"fpn.output_norm.{3 - level}", self.conv(f"fpn.output.{3 - level}", inner))

    def embed(self, maps: list[np.ndarray], level: int, grid: int) -> np.ndarray:
        """Embeddings of each cell of a grid over a map, row by row."""
        found = self.pyramid(maps, level)
        n, h, w, c = found.shape
        cells = found.reshape(n, grid, h // grid, grid, w // grid, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, h // grid, w // grid, c)
        x = np.maximum(self.norm("montage_head.conv_norm.0", self.conv("montage_head.conv.0", cells)), 0).mean((1, 2))
        return self.norm("montage_head.fc2_norm", self.perceptron("montage_head", x))

    def perceptron(self, name: str, x: np.ndarray) -> np.ndarray:
        x = np.maximum(self.norm(f"{name}.fc1_norm", x @ self.weights[f"{self.prefix}{name}.fc1.weight"].T), 0)
        bias = self.weights.get(f"{self.prefix}{name}.fc2.bias")
        return x @ self.weights[f"{self.prefix}{name}.fc2.weight"].T + (0 if bias is None else bias)


def logistic(features: np.ndarray, labels: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Classes of `other` by logistic regression (L-BFGS, 60 steps, weight decay 1e-3) on standardised features."""
    mean, std = features.mean(0), features.std(0) + 1e-6
    x, z = (np.concatenate([(part - mean) / std, np.ones((len(part), 1))], 1).astype(np.float32) for part in (features, other))
    y = np.eye(10, dtype=np.float32)[labels]
    decay = np.full((x.shape[1], 1), 1e-3, np.float32)
    decay[-1] = 0

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        s = x @ w
        s -= s.max(1, keepdims=True)
        log = s - np.log(np.exp(s).sum(1, keepdims=True))
        return float(-(y * log).sum(dtype=float) / len(x) + (decay * w * w).sum(dtype=float)), x.T @ (np.exp(log) - y) / len(
            x
        ) + 2 * decay * w

    w = np.zeros((x.shape[1], 10), np.float32)
    value, slope = loss(w)
    past: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(60):
        q, factors = slope.copy(), []
        for s, t in reversed(past):
            factors.append((s * q).sum() / (s * t).sum())
            q -= factors[-1] * t
        if past:
            q *= (past[-1][0] * past[-1][1]).sum() / (past[-1][1] ** 2).sum()
        for (s, t), factor in zip(past, reversed(factors)):
            q += (factor - (t * q).sum() / (s * t).sum()) * s
        step = 1.0 if past else 1 / max(float(np.abs(q).sum()), 1.0)
        while True:
            new, new_slope = loss(w - step * q)
            if new <= value - 1e-4 * step * (slope * q).sum() or step < 1e-6:
                break
            step /= 2
        s, t = -step * q, new_slope - slope
        if (s * t).sum() > 1e-12:
            past = [*past[-9:], (s, t)]
        w, value, slope = w + s, new, new_slope
    return (z @ w).argmax(1)


def nearest(queries: np.ndarray, keys: np.ndarray, owners: np.ndarray) -> float:
    """Share of queries whose largest cosine, among the keys, is with that of their owner."""
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (queries, keys)]
    return float(((unit[0] @ unit[1].T).argmax(1) == owners).mean())


# ---- Arms


class Arms:
    def __init__(self, args: argparse.Namespace) -> None:
        self.output, self.seconds = args.output, args.seconds
        self.output.mkdir(parents=True, exist_ok=True)
        self.pixels, labels = in_memory(mrp.ImageFolder(args.data / "train").subset(IMAGES, random_state=0))
        numbers = np.random.default_rng(3)
        chosen = numbers.permutation(IMAGES)[:LABELLED]
        self.known = (self.pixels[chosen], labels[chosen])
        pixels, labels = in_memory(mrp.ImageFolder(args.data / "test"))
        chosen = numbers.permutation(len(pixels))[:TESTED]
        self.tested = (pixels[chosen], labels[chosen])

    def path(self, arm: str, seed: int, end: str) -> Path:
        return self.output / f"{arm}-{seed}{end}"

    def steps(self, arm: str, seed: int) -> int:
        """Steps that fit the time, by a few of them; kept, so that a run that goes on is the same run."""
        path = self.path(arm, seed, ".steps")
        if arm == "untrained":
            return 1
        if not path.exists():
            trainer = iter(mrp.Trainer(mrp.Model(NETWORK, seed=seed), self.images(), RECIPE | ARMS[arm], seed=seed, epochs=1))
            next(trainer)
            start = time.process_time()
            for _ in range(8):
                next(trainer)
            path.write_text(str(round(self.seconds / (time.process_time() - start) * 8)))
        return int(path.read_text())

    def images(self) -> mrp.Dataset:
        return mrp.Dataset(self.pixels, layout="NCHW")

    def run(self, arm: str, seed: int) -> None:
        if self.path(arm, seed, ".json").exists():
            return
        steps = self.steps(arm, seed)
        epochs = steps / (IMAGES // RECIPE["batch_size"])
        options = RECIPE | ARMS[arm] | {"epochs": epochs, "warmup_epochs": 0.05 * epochs, "seed": seed}
        options |= {"learning_rate": 1e-9} if arm == "untrained" else {}
        model, start = mrp.Model(NETWORK, seed=seed), time.process_time()
        trainer = mrp.Trainer(model, self.images(), options, run_folder=str(self.path(arm, seed, "")))
        for _ in trainer:
            pass
        seconds = time.process_time() - start
        checkpoint = self.path(arm, seed, ".ckpt")
        trainer.save(checkpoint)
        result = {"steps": steps, "seconds": seconds} | self.measure(model, *tensors(checkpoint), levels=options["montage_levels"])
        self.path(arm, seed, ".json").write_text(json.dumps(result))
        for path in (checkpoint, *self.path(arm, seed, "").glob("*.ckpt")):
            path.unlink()
        print(f"seed {seed} {arm}: {json.dumps(result)}, {time.process_time() - start - seconds:.0f} s to measure", flush=True)

    def measure(self, model: mrp.Model, weights: Weights, state: dict[str, Any], levels: int) -> dict[str, float]:
        networks, teacher = Networks(weights), Networks(weights, "teacher.")
        description = model.info["libmrp"]
        mean, std = (np.array(description[key], np.float32)[:, None, None] for key in ("mean", "std"))

        def maps(pixels: np.ndarray) -> list[np.ndarray]:
            """The last two stages as the library has them."""
            options = {"features": "tokens", "threads": 1, "loader_threads": 0}
            found = [model.encode(mrp.Dataset(pixels, layout="NCHW"), layer=layer, **options) for layer in (3, 4)]
            return [np.empty(0), np.empty(0), found[0].reshape(-1, 8, 8, 4 * WIDTH), found[1].reshape(-1, 4, 4, 8 * WIDTH)]

        def pooled(found: list[np.ndarray], grid: int) -> np.ndarray:
            parts = [part.reshape(len(part), grid, part.shape[1] // grid, grid, -1, part.shape[3]).mean((2, 4)) for part in found[2:]]
            return np.concatenate(parts, -1).reshape(len(parts[0]) * grid * grid, -1)

        sets = []
        for number, (pixels, labels) in enumerate((self.known, self.tested)):
            order = np.random.default_rng(4 + number).permutation(len(pixels))
            sets.append((maps(pixels), labels, maps(montages(pixels, order)), labels[order]))
        (a, a_labels, b, b_labels), (c, c_labels, d, d_labels) = sets

        def accuracy(x: np.ndarray, y: np.ndarray, other: np.ndarray, truth: np.ndarray) -> float:
            return float((logistic(x, y, other) == truth).mean())

        def side(cells: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return cells.reshape(-1, 2, 2, cells.shape[1])[:, :, 0].reshape(-1, cells.shape[1]), labels.reshape(-1, 2, 2)[:, :, 1].ravel()

        whole = pooled(a, 1)
        cells = (pooled(b, 2), pooled(d, 2))
        result = {
            "whole": accuracy(whole, a_labels, pooled(c, 1), c_labels), "cells": accuracy(cells[0], b_labels, cells[1], d_labels),
            "neighbour": accuracy(*side(cells[0], b_labels), *side(cells[1], d_labels)),
            "whole_on_cells": accuracy(whole, a_labels, cells[1], d_labels),
        }  # fmt: skip
        embedded = networks.embed(a, 0, 1)
        result["embedding"] = accuracy(embedded, a_labels, networks.embed(c, 0, 1), c_labels)
        result["tiles_level_1"] = accuracy(embedded, a_labels, networks.embed(d, 1, 2), d_labels)
        result["tiles_level_0"] = accuracy(embedded, a_labels, networks.embed(d, 0, 2), d_labels)
        found: list[tuple[float, float]] = []
        predictor = "montage_predictor.1" if "montage_predictor.1.fc1.weight" in weights else "montage_predictor.0"
        for first in range(0, 1024, 128):
            pixels = self.tested[0][first : first + 128]
            order = np.random.default_rng(100 + first).permutation(128)
            tiles = networks.embed(maps(montages(pixels, order)), 1, 2)
            targets = teacher.embed(teacher.stages((pixels / np.float32(255) - mean) / std), 0, 1)
            own = networks.embed(maps(pixels), 0, 1)
            found.append((nearest(tiles, own, order), nearest(networks.perceptron(predictor, tiles), targets, order)))
        result["finds"], result["finds_by_predictor"] = (float(part) for part in np.mean(found, 0))
        last = state["values"]
        return result | {key: last[key] for level in range(levels) for key in (f"loss_level_{level}", f"top1_level_{level}") if key in last}


# ---- Report

COLUMNS = {
    "steps": "steps", "finds": "tile finds image", "finds_by_predictor": "through predictor", "embedding": "embeddings, whole",
    "tiles_level_1": "on tiles, level 1", "tiles_level_0": "on tiles, level 0", "whole": "backbone, whole", "cells": "cells",
    "whole_on_cells": "whole on cells", "neighbour": "neighbour", "loss_level_1": "loss, level 1",
}  # fmt: skip


def report(args: argparse.Namespace) -> int:
    status = 0
    for title, seeds in (("seeds of the specification", (1, 2)), ("seeds that nobody tuned on", (11, 12, 13))):
        found = {
            (arm, seed): json.loads(path.read_text())
            for arm in ARMS for seed in seeds if (path := args.output / f"{arm}-{seed}.json").exists()
        }  # fmt: skip
        print(f"\n{title}: {', '.join(map(str, seeds))}\n| arm | seed | {' | '.join(COLUMNS.values())} |")
        print("|---" * (2 + len(COLUMNS)) + "|")
        for (arm, seed), row in found.items():
            cells = [f"{row[key]:.0f}" if key == "steps" else f"{row[key]:.3f}" if key in row else "-" for key in COLUMNS]
            print(f"| {arm} | {seed} | {' | '.join(cells)} |")
        for seed in seeds:
            rows = {arm: found[arm, seed] for arm in ARMS if (arm, seed) in found}
            if {"montage", "image"} <= set(rows):
                status |= verdicts(seed, rows)
            else:
                print(f"not all arms of seed {seed} are there")
                status = 1
    return status


def verdicts(seed: int, rows: dict[str, dict[str, float]]) -> int:
    montage, image = rows["montage"], rows["image"]
    margin = montage["tiles_level_1"] - max(image["tiles_level_1"], image["tiles_level_0"])
    claims = {
        f"through the predictor {montage['finds_by_predictor']:.3f} of tiles find their image >= 0.25": montage["finds_by_predictor"]
        >= 0.25,
        f"by embeddings {montage['finds']:.3f} >= 0.15": montage["finds"] >= 0.15,
        f"classifier on tiles {100 * margin:+.1f} points over the image-level control's best > 0": margin > 0,
        f"backbone probe {100 * (montage['whole'] - image['whole']):+.1f} points, at least -3": montage["whole"] >= image["whole"] - 0.03,
        f"neighbour's label {montage['neighbour']:.3f}, the control's {image['neighbour']:.3f} + 0.02 at most": (
            montage["neighbour"] <= image["neighbour"] + 0.02
        ),
    }
    if "per_level" in rows:
        claims[f"control, per-level predictors: by embeddings {rows['per_level']['finds']:.3f} < 0.03"] = rows["per_level"]["finds"] < 0.03
    if "shuffled" in rows:
        control = rows["shuffled"]
        claims[f"control, shuffled tiles: {control['finds_by_predictor']:.3f} find their image < 0.03"] = (
            control["finds_by_predictor"] < 0.03
        )
        claims[f"control, shuffled tiles: loss {control['loss_level_1']:.3f} >= log 128 - 0.05"] = (
            control["loss_level_1"] >= np.log(128) - 0.05
        )
    for text, holds in claims.items():
        print(f"{'holds' if holds else 'FAILS'}  seed {seed}: {text}")
    return int(not all(claims.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("command", choices=("train", "report"))
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    if args.command == "report":
        return report(args)
    arms = Arms(args)
    for seed in args.seeds:
        for arm in args.arms:
            arms.run(arm, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
