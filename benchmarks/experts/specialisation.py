"""What experts routed by clusters specialise in: the loss of each image group through each expert (docs/experts.md).

    .venv/bin/python benchmarks/experts/specialisation.py --cifar FOLDER --output build/experts --seeds 0 1
    .venv/bin/python benchmarks/experts/specialisation.py --cifar FOLDER --output build/experts report

FOLDER holds train/<class>/*.jpg of CIFAR-10. The pool has 6,000 of its images and 6,000 that the library draws, without labels; 1,500
more of each are held out. A masked autoencoder (ViT 64 x 4, patches of 8) learns from the pool for 15 epochs; from it go on, for 8
epochs each: a mixture of four experts in the last two blocks with 16 clusters, the same with each image routed by another image's
cluster (`shuffled`), and the dense model.

Held-out images are grouped by the expert that their cluster belongs to; the matrix has the masked loss of each group through each
expert, over the same hidden patches. Thresholds, each seed: the own expert has the smallest loss of each group of 50 images or more,
the others are 1.5 % worse in the mean over groups, shuffled clusters .3 % at most, each expert has 5 % of the pool; in the mean over
seeds and domains the routed loss is below that of the dense continuation and of the control. Exit status 1 when one fails. About 4
minutes of a processor a seed; what is there is not done again.
"""

import argparse
import json
import sys
from pathlib import Path

import mrp
import numpy as np

POOL, HELD_OUT, EXPERTS, CLUSTERS = 6000, 1500, 4, 16
NETWORK = {"image_size": 32, "patch_size": 8, "width": 64, "depth": 4, "heads": 4}
NETWORK |= {"decoder_width": 48, "decoder_depth": 1, "decoder_heads": 4}
TRAINING = {"batch_size": 128, "weight_decay": 0.05, "warmup_epochs": 1, "augmentation": "flip"}
MIXTURE = {"moe_experts": EXPERTS, "moe_blocks": 2, "moe_clusters": CLUSTERS, "moe_routing": "cluster"}
DENSE, CONTINUED = {"epochs": 15, "learning_rate": 2e-3}, {"epochs": 8, "learning_rate": 1e-3}


def pool(args: argparse.Namespace) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images of the pool, and the held-out ones of each domain; uint8 NCHW."""
    path = args.output / "images.npz"
    if not path.exists():
        count = POOL + HELD_OUT
        folder = mrp.ImageFolder(args.cifar / "train")
        chosen = np.sort(np.random.default_rng(7).permutation(len(folder))[:count])
        cifar = np.concatenate([folder.images(int(i), int(i) + 1) for i in chosen])
        cifar = cifar[np.random.default_rng(8).permutation(count)]
        drawn = mrp.Dataset.generate(count, random_state=0, image_size=32).images(0, count)
        np.savez(path, cifar=np.rint(cifar * 255).astype(np.uint8), drawn=np.rint(drawn * 255).astype(np.uint8))
    with np.load(path) as arrays:
        domains = {name: arrays[name] for name in ("cifar", "drawn")}
    return np.concatenate([images[:POOL] for images in domains.values()]), {name: images[POOL:] for name, images in domains.items()}


def loss(model: mrp.Model, images: np.ndarray, **options: object) -> float:
    return model.evaluate(mrp.Dataset(images), "reconstruction_loss", threads=1, **options)


def arm(args: argparse.Namespace, seed: int, name: str, dense: mrp.Model, images: np.ndarray) -> mrp.Model:
    path = args.output / f"{name}-{seed}.safetensors"
    if path.exists():
        return mrp.Model.load(path)
    data, options = mrp.Dataset(images), {"threads": 1, "seed": seed}
    if name == "dense":
        model, options = mrp.Model(**NETWORK, seed=seed), options | DENSE
    elif name == "continued":
        model, options = dense.copy(), options | CONTINUED
    else:
        model = dense.upcycle(data, **MIXTURE, **options)
        options |= CONTINUED | dict(pair.split("=", 1) for pair in args.set) | {"moe_shuffled_clusters": name == "shuffled"}
    model.pretrain(data, **TRAINING, **options)
    model.save(path)
    return model


def matrix(model: mrp.Model, images: np.ndarray) -> tuple[list[int], list[list[float]]]:
    """Images of each group, and for each group the loss through each expert."""
    numbers = model.experts(mrp.Dataset(images), threads=1).numbers
    assert numbers is not None
    groups = [images[numbers == expert] for expert in range(EXPERTS)]
    return [len(group) for group in groups], [
        model.experts(mrp.Dataset(group), threads=1).losses.tolist() if len(group) else [] for group in groups
    ]


def run(args: argparse.Namespace, seed: int) -> None:
    result = args.output / f"result-{seed}.json"
    if result.exists():
        return
    images, held_out = pool(args)
    mixed = np.concatenate(list(held_out.values()))
    dense = arm(args, seed, "dense", mrp.Model(**NETWORK), images)
    found: dict = {"seed": seed, "losses": {}}
    for name in ("clusters", "shuffled", "continued"):
        model = arm(args, seed, name, dense, images)
        found["losses"][name] = {domain: loss(model, part) for domain, part in held_out.items()}
        if name != "continued":
            sizes, rows = matrix(model, mixed)
            numbers = model.experts(mrp.Dataset(images), threads=1).numbers
            assert numbers is not None
            found[name] = {"groups": sizes, "matrix": rows, "load": np.bincount(numbers, minlength=EXPERTS).tolist()}
    result.write_text(json.dumps(found))


def excess(found: dict, least: int = 1) -> list[float]:
    """By how much the other experts are worse than the own one, for each group."""
    pairs = [(own, row) for own, (size, row) in enumerate(zip(found["groups"], found["matrix"])) if size >= least]
    return [float(np.mean([value for e, value in enumerate(row) if e != own]) / row[own] - 1) for own, row in pairs]


def report(args: argparse.Namespace) -> bool:
    ok, differences = True, {"continued": [], "shuffled": []}
    for path in sorted(args.output.glob("result-*.json"), key=lambda path: int(path.stem.split("-")[1])):
        found = json.loads(path.read_text())
        clusters, shuffled, losses = found["clusters"], found["shuffled"], found["losses"]
        best = [int(np.argmin(row)) == own for own, (size, row) in enumerate(zip(clusters["groups"], clusters["matrix"])) if size >= 50]
        margin, control = float(np.mean(excess(clusters, 50))), float(np.mean(excess(shuffled, 50)))
        least = min(clusters["load"]) / sum(clusters["load"])
        checks = {
            f"own expert best in {sum(best)} of {len(best)} groups": all(best),
            f"others {100 * margin:.2f} % worse (>= 1.5)": margin >= 0.015,
            f"shuffled {100 * control:.2f} % (<= .3)": control <= 0.003,
            f"least load {100 * least:.1f} % (>= 5)": least >= 0.05,
        }
        print(f"seed {found['seed']}: " + "; ".join(f"{text}{'' if good else ' FAILS'}" for text, good in checks.items()))
        for own, (size, row) in enumerate(zip(clusters["groups"], clusters["matrix"])):
            print(f"    group {own} ({size} images): " + " ".join(f"{value:.4f}{'*' if e == own else ' '}" for e, value in enumerate(row)))
        for name, values in losses.items():
            print(f"    {name}: " + ", ".join(f"{domain} {value:.4f}" for domain, value in values.items()))
        ok &= all(checks.values())
        for name, values in differences.items():
            values += [losses[name][domain] / losses["clusters"][domain] - 1 for domain in losses[name]]
    for name, values in differences.items():
        mean = float(np.mean(values)) if values else 0.0
        ok &= mean > 0
        print(f"{name} over routed, mean of seeds and domains: {100 * mean:+.2f} %{'' if mean > 0 else ' FAILS'}")
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=("run", "report"), default="run")
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--output", type=Path, default=Path("build/experts"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another option of the mixtures' training")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds if args.command == "run" else []:
        run(args, seed)
    return 0 if report(args) else 1


if __name__ == "__main__":
    sys.exit(main())
