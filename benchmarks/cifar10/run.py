"""CIFAR-10 with few labels: masked pretraining and fine-tuning against training from scratch, with libmrp.

    .venv/bin/python benchmarks/cifar10/run.py --data FOLDER --output build/cifar10 --knn pretrain
    .venv/bin/python benchmarks/cifar10/run.py --data FOLDER --output build/cifar10 probe
    .venv/bin/python benchmarks/cifar10/run.py --data FOLDER --output build/cifar10 scratch --rates 5e-4 1e-3 2e-3 4e-3
    .venv/bin/python benchmarks/cifar10/run.py --data FOLDER --output build/cifar10 finetune
    .venv/bin/python benchmarks/cifar10/run.py --data FOLDER --output build/cifar10 report
    .venv/bin/python benchmarks/cifar10/run.py --data FOLDER --output build/cifar10 --vit vit_micro --budget 120 search
    .venv/bin/python benchmarks/cifar10/run.py --data FOLDER --output build/cifar10 --vit vit_micro --finetune-epochs 10 objectives

FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg. Network: ViT, patch 4, width 128, depth 6, 4 heads; decoder width 96,
depth 2 (preset mae_vit_mini_32). With --encoder resnet18 (or another convolutional network) and --width 16 it is that network with
CIFAR's stem, pretrained by SparK or another objective (--objective; ratio 0.6, cells of 8 x 8, decoder of 4 times the width), with
--hidden-cells zero by the dense network on zeroed cells; give each network an OUTPUT of its own. Scratch and fine-tuning share recipe,
augmentation, labels and budget; only layer decay and rate differ. Every command can be stopped and started again: runs go on from their
checkpoints, finished ones are not repeated. Results are lines of JSON in OUTPUT/results.jsonl; `report` prints them and draws
OUTPUT/curves.png.

`objectives` gives every pretraining objective the same compute on the same ViT (--vit; --budget seconds of a processor: they are timed
first, in turns, to know how many steps that is), and measures each encoder with the same labelled images: nearest neighbours (k = 20), a
linear probe, fine-tuning; beside them the random encoder and training from scratch. `search` tries values of one option (--option,
--values) for each objective by the nearest neighbours among training images alone: 5,000 labelled ones for 5,000 others. `objectives`
takes the best values that a search in the same OUTPUT found.
"""

import argparse
import json
import time
from pathlib import Path

import mrp
import numpy as np

PRESET = "mae_vit_mini_32"
PRETRAIN = {
    "transformer": {"batch_size": 64, "learning_rate": 7.5e-4, "weight_decay": 0.05},
    "convolutional": {"batch_size": 256, "learning_rate": 1.5e-3, "weight_decay": 0.05},
}
FINETUNE = {"batch_size": 128, "label_smoothing": 0.1, "weight_decay": 0.05}


def options(args: argparse.Namespace, **more: object) -> mrp.Config:
    values = {key: value for key, value in more.items() if value is not None} | dict(pair.split("=", 1) for pair in args.set)
    if args.encoder is None:
        return mrp.Config(PRESET, threads=args.threads, **values)
    network = {"encoder": args.encoder, "width": args.width, "decoder_width": 4 * args.width}
    network |= {"objective": args.objective, "hidden_cells": args.hidden_cells, "norm_pix_loss": True}
    return mrp.Config(threads=args.threads, image_size=32, **network, **values)


def record(args: argparse.Namespace, **values: object) -> None:
    with (args.output / "results.jsonl").open("a") as file:
        file.write(json.dumps(values) + "\n")
    print(json.dumps(values), flush=True)


def recorded(args: argparse.Namespace, kind: str) -> list[dict]:
    path = args.output / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["kind"] == kind]


def pretrain(args: argparse.Namespace) -> None:
    encoder, checkpoint = args.output / "encoder.safetensors", args.output / "pretrain.ckpt"
    if encoder.exists():
        return
    train, test = mrp.ImageFolder(args.data / "train"), mrp.ImageFolder(args.data / "test")
    few = train.subset(args.labels, random_state=0)
    config = options(args, seed=args.seed, epochs=args.epochs, **PRETRAIN["convolutional" if args.encoder else "transformer"])
    model = mrp.Model(config)
    trainer = mrp.Trainer(model, train, config, phase="pretrain")
    if checkpoint.exists():
        trainer.resume(checkpoint)
    print(f"{trainer.plan.bytes / 2**20:.0f} MiB, step {trainer.progress.step} of {trainer.plan.steps}", flush=True)
    epoch, start, processor = int(trainer.progress.epoch), time.monotonic(), time.process_time()
    saved = start
    for progress in trainer:
        if time.monotonic() - saved > 60:
            trainer.save(checkpoint)
            saved = time.monotonic()
        if int(progress.epoch) > epoch:
            epoch = int(progress.epoch)
            trainer.save(checkpoint)
            # Accuracy on the test images of the nearest of the few labelled ones.
            knn = {"knn": round(100 * trainer.model.probe(few, test, "knn", threads=args.threads), 2)} if args.knn else {}
            record(
                args, kind="pretrain_epoch", epoch=epoch, loss=round(progress.mean_loss, 5), seconds=round(progress.seconds, 1),
                wall=round(time.monotonic() - start, 1), processor=round(time.process_time() - processor, 1), **knn,
            )  # fmt: skip
    model.save(encoder)
    record(args, kind="pretrain", epochs=args.epochs, images=args.epochs * len(train), seconds=round(trainer.progress.seconds, 1))


def probe(args: argparse.Namespace) -> None:
    """Nearest neighbours and the linear probe of the pretrained encoder, and of one that was not."""
    train, test = mrp.ImageFolder(args.data / "train"), mrp.ImageFolder(args.data / "test")
    few = train.subset(args.labels, random_state=0)
    fresh = mrp.Model(options(args), seed=args.seed)
    mrp.Trainer(fresh, train, options(args))  # measures mean and deviation of the pixels; no step is made
    for name, model in (("pretrained", mrp.Model.load(args.output / "encoder.safetensors")), ("random", fresh)):
        for method in ("knn", "linear"):
            same = {"encoder": name, "labels": args.labels, "method": method}
            if not any(line.items() >= same.items() for line in recorded(args, "probe")):
                top1 = model.probe(few, test, method, threads=args.threads)
                record(args, kind="probe", **same, top1=round(100 * top1, 2))


def classify(args: argparse.Namespace, kind: str, rate: float, seed: int, epochs: float) -> None:
    same = {"labels": args.labels, "epochs": epochs, "rate": rate, "seed": seed}
    if kind == "finetune":
        same["layer_decay"] = args.layer_decay
    if any(line.items() >= same.items() for line in recorded(args, kind)):
        return
    for line in recorded(args, "sweep") if kind == "scratch" else []:
        if line.items() >= same.items():  # the rate was chosen by this very run
            record(args, **{**line, "kind": kind})
            return
    train, test = mrp.ImageFolder(args.data / "train"), mrp.ImageFolder(args.data / "test")
    few = train.subset(args.labels, random_state=0)
    config = options(args, seed=seed, epochs=epochs, learning_rate=rate, layer_decay=same.get("layer_decay"), **FINETUNE)
    model = mrp.Model.load(args.output / "encoder.safetensors") if kind == "finetune" else mrp.Model(config)
    checkpoint = args.output / ("-".join([kind, *(f"{value:g}" for value in same.values())]) + ".ckpt")
    course = checkpoint.with_suffix(".json")
    trainer, curve, start = mrp.Trainer(model, few, config, phase="finetune"), [], time.monotonic()
    if checkpoint.exists():
        trainer.resume(checkpoint)
        curve = json.loads(course.read_text())[: int(trainer.progress.epoch)]
    epoch, saved = int(trainer.progress.epoch), start
    for progress in trainer:
        if int(progress.epoch) > epoch:
            epoch = int(progress.epoch)
            curve.append(round(progress.mean_loss, 4))
            if time.monotonic() - saved > 60:
                saved = time.monotonic()
                course.write_text(json.dumps(curve))
                trainer.save(checkpoint)
    accuracy = model.evaluate(test, "top1", config)
    record(
        args, kind=kind, **same, top1=round(100 * accuracy, 2), test_loss=round(model.evaluate(test, "loss", config), 4), train_loss=curve,
        wall=round(time.monotonic() - start, 1),
    )  # fmt: skip
    for file in (checkpoint, course):
        file.unlink(missing_ok=True)


def scratch(args: argparse.Namespace) -> None:
    """The best of the rates by runs of --sweep-epochs, then every seed with it for the whole budget."""
    for rate in args.rates:
        classify(args, "sweep", rate, args.seeds[0], args.sweep_epochs)
    runs = [line for line in recorded(args, "sweep") if line["labels"] == args.labels and line["epochs"] == args.sweep_epochs]
    best = max(runs, key=lambda line: line["top1"])["rate"]
    for seed in args.seeds:
        classify(args, "scratch", best, seed, args.finetune_epochs)


def finetune(args: argparse.Namespace) -> None:
    for seed in args.seeds:
        classify(args, "finetune", args.finetune_rate, seed, args.finetune_epochs)


OBJECTIVES = ["mae", "simmim", "maskfeat", "beit", "data2vec", "ijepa", "teacher_student"]


def objective_config(args: argparse.Namespace, objective: str, **more: object) -> mrp.Config:
    """The objective's preset on the small ViT."""
    values = {"threads": args.threads, "seed": args.seed} | more | dict(pair.split("=", 1) for pair in args.set)
    return mrp.Config(f"{objective}_vit_mini_32", encoder=args.vit, **values)


def found(args: argparse.Namespace, objective: str) -> dict[str, str]:
    """The best value of each option that was searched for this objective: of those whose nearest neighbours are within a standard error
    (of 5,000 images) of the best, the one whose features vary along the most directions."""
    tried: dict[str, list[dict]] = {}
    for line in recorded(args, "search"):
        if line["objective"] == objective:
            tried.setdefault(line["option"], []).append(line)
    best = {}
    for option, lines in tried.items():
        limit = max(line["knn"] for line in lines) - 0.65
        best[option] = max((line for line in lines if line["knn"] >= limit), key=lambda line: line["feature_rank"])["value"]
    return best


def step_seconds(args: argparse.Namespace, train: mrp.Dataset) -> dict[str, float]:
    """Processor seconds of a step of each objective: medians over rounds in which they take turns, so that whatever else runs on the
    machine weighs on all alike. Measured once, then recorded."""
    for line in recorded(args, "timing"):
        if line["vit"] == args.vit:
            return line["step_seconds"]
    configs = {objective: objective_config(args, objective, **{"pretrain.epochs": 1.0}) for objective in OBJECTIVES}
    trainers = {objective: mrp.Trainer(mrp.Model(config), train, config) for objective, config in configs.items()}
    seconds: dict[str, list[float]] = {objective: [] for objective in OBJECTIVES}
    for _ in range(16):
        for objective, trainer in trainers.items():
            start = time.process_time()
            trainer.step()
            seconds[objective].append(time.process_time() - start)
    result = {objective: round(float(np.median(values[1:])), 4) for objective, values in seconds.items()}
    record(args, kind="timing", vit=args.vit, step_seconds=result)
    return result


def epochs_for(args: argparse.Namespace, objective: str, train: mrp.Dataset) -> float:
    """Epochs that fit into the budget."""
    steps_per_epoch = len(train) // objective_config(args, objective)["pretrain.batch_size"]
    return round(args.budget / step_seconds(args, train)[objective] / steps_per_epoch, 3)


def pretrained(args: argparse.Namespace, objective: str, train: mrp.Dataset, name: str, **more: object) -> mrp.Model:
    """The encoder of one run, from its file where it is there, else from its checkpoint, else from the start."""
    file, checkpoint = args.output / f"{name}.safetensors", args.output / f"{name}.ckpt"
    if file.exists():
        return mrp.Model.load(file)
    config = objective_config(args, objective, **{"pretrain.epochs": epochs_for(args, objective, train)}, **more)
    model = mrp.Model(config)
    trainer = mrp.Trainer(model, train, config)
    if checkpoint.exists():
        trainer.resume(checkpoint)
    epoch, saved = int(trainer.progress.epoch), time.monotonic()
    for progress in trainer:
        if time.monotonic() - saved > 60:
            trainer.save(checkpoint)
            saved = time.monotonic()
        if int(progress.epoch) > epoch or progress.step == progress.steps:
            epoch = int(progress.epoch)
            record(
                args, kind="course", run=name, epoch=round(progress.epoch, 3), loss=round(progress.mean_loss, 5),
                feature_std=round(progress.feature_std, 4), feature_rank=round(progress.feature_rank, 2),
                seconds=round(progress.seconds, 1),
            )  # fmt: skip
    model.save(file)
    checkpoint.unlink(missing_ok=True)
    return model


def measure(args: argparse.Namespace, name: str, model: mrp.Model, few: mrp.Dataset, test: mrp.Dataset) -> None:
    """Nearest neighbours, linear probe and fine-tuning with the few labels; what is recorded is not measured again."""
    same = {"run": name, "labels": args.labels}
    done = [line for line in recorded(args, "measure") if line.items() >= same.items()]

    def missing(measure: str, seed: int) -> bool:
        return not any((line["measure"], line["seed"]) == (measure, seed) for line in done)

    for method in ("knn", "linear") if name != "scratch" else ():  # training from scratch is the fine-tuning of the random encoder
        if missing(method, 0):
            top1 = model.probe(few, test, method, threads=args.threads)
            record(args, kind="measure", **same, measure=method, seed=0, top1=round(100 * top1, 2))
    for seed in args.seeds if name != "random" else ():
        if missing("finetune", seed):
            tuning = {"epochs": args.finetune_epochs, "learning_rate": args.finetune_rate, **FINETUNE}
            config = mrp.Config("mae_vit_mini_32", encoder=args.vit, threads=args.threads, seed=seed, **tuning)
            copy = model.copy()
            copy.finetune(few, config)
            record(args, kind="measure", **same, measure="finetune", seed=seed, top1=round(100 * copy.evaluate(test, "top1", config), 2))


def objectives(args: argparse.Namespace) -> None:
    train, test = mrp.ImageFolder(args.data / "train"), mrp.ImageFolder(args.data / "test")
    few = train.subset(args.labels, random_state=0)
    fresh = mrp.Model(objective_config(args, "mae"), seed=args.seed)
    mrp.Trainer(fresh, train, objective_config(args, "mae"))  # measures mean and deviation of the pixels; no step is made
    for name in ("random", "scratch"):
        measure(args, name, fresh, few, test)
    for objective in args.objectives:
        measure(args, objective, pretrained(args, objective, train, objective, **found(args, objective)), few, test)
    objectives_report(args)


def objectives_report(args: argparse.Namespace) -> None:
    """The table, and the rank of each objective's features over its epochs."""
    lines = [line for line in recorded(args, "measure") if line["labels"] == args.labels]
    print("| run | kNN | linear probe | fine-tuning |\n|---|---|---|---|")
    for name in dict.fromkeys(line["run"] for line in lines):
        cells = []
        for measure in ("knn", "linear", "finetune"):
            values = [line["top1"] for line in lines if (line["run"], line["measure"]) == (name, measure)]
            cells.append(f"{sum(values) / len(values):.2f}" if values else "")
        print(f"| {name} | {' | '.join(cells)} |")
    for name in dict.fromkeys(line["run"] for line in recorded(args, "course")):
        ranks = [f"{line['feature_rank']:.1f}" for line in recorded(args, "course") if line["run"] == name]
        print(f"{name}: rank of the features after each epoch {' '.join(ranks)}")


def search(args: argparse.Namespace) -> None:
    """One option of one objective, by nearest neighbours among training images: the test images stay unseen."""
    train = mrp.ImageFolder(args.data / "train")
    both = train.subset(10_000, random_state=1)
    images, labels = (255 * both.images()).round().astype(np.uint8), both.labels
    order = np.random.default_rng(2).permutation(10_000)
    few, others = (mrp.Dataset(images[half], labels[half]) for half in (order[:5_000], order[5_000:]))
    for objective in args.objectives:
        for value in args.values:
            name = f"{objective}-{args.option}-{value}-{args.budget:g}"
            if any(line["run"] == name for line in recorded(args, "search")):
                continue
            model = pretrained(args, objective, train, name, **{**found(args, objective), args.option: value})
            course = [line for line in recorded(args, "course") if line["run"] == name]
            top1 = model.probe(few, others, "knn", threads=args.threads)
            record(
                args, kind="search", run=name, objective=objective, option=args.option, value=value, knn=round(100 * top1, 2),
                feature_rank=course[-1]["feature_rank"], loss=course[-1]["loss"],
            )  # fmt: skip


def report(args: argparse.Namespace) -> None:
    for line in recorded(args, "search"):
        print(f"search: {line['objective']}, {line['option']} {line['value']}: kNN {line['knn']:.2f} % of training images")
    if recorded(args, "measure"):
        objectives_report(args)
    for line in recorded(args, "pretrain_epoch"):
        neighbours = f", kNN {line['knn']:.2f} %" if "knn" in line else ""
        print(f"pretraining epoch {line['epoch']:3}: loss {line['loss']:.4f}{neighbours}, {line['seconds']:.0f} s in steps")
    for line in recorded(args, "probe"):
        print(f"{line['encoder']} encoder, {line['labels']} labels, {line['method']}: top-1 {line['top1']:.2f} %")
    means: dict[tuple[str, float], dict[tuple[float, float], float]] = {}
    for kind in ("sweep", "scratch", "finetune"):
        runs: dict[tuple[float, ...], list[float]] = {}
        for line in recorded(args, kind):
            if line["labels"] == args.labels:
                runs.setdefault((line["epochs"], line["rate"], line.get("layer_decay", 1)), []).append(line["top1"])
        for (epochs, rate, decay), values in sorted(runs.items()):
            means.setdefault((kind, epochs), {})[rate, decay] = sum(values) / len(values)
            mean = means[kind, epochs][rate, decay]
            print(f"{kind:8} {epochs:g} epochs, rate {rate:g}, layer decay {decay:g}: top-1 {mean:.2f} % over {len(values)} seeds {values}")
    for epochs in sorted({epochs for _, epochs in means}):
        if ("scratch", epochs) in means and ("finetune", epochs) in means:
            finetuned, baseline = max(means["finetune", epochs].values()), max(means["scratch", epochs].values())
            print(f"{epochs:g} epochs: fine-tuned {finetuned:.2f} %, scratch {baseline:.2f} %: {finetuned - baseline:+.2f} points")
    if recorded(args, "pretrain_epoch"):
        curves(args)


def curves(args: argparse.Namespace) -> None:
    """Pictures of the courses in OUTPUT/curves.png: pretraining by epochs, and training with labels, a line for each run."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    course = recorded(args, "pretrain_epoch")
    left.plot([line["epoch"] for line in course], [line["loss"] for line in course], "C0")
    if any("knn" in line for line in course):
        neighbours = [line for line in course if "knn" in line]
        right_axis = left.twinx()
        right_axis.plot([line["epoch"] for line in neighbours], [line["knn"] for line in neighbours], "C3")
        right_axis.set_ylabel("top-1 of nearest neighbours, %", color="C3")
    left.set(title="pretraining", xlabel="epoch")
    left.set_ylabel("loss", color="C0")
    for kind, style in (("scratch", "C0"), ("finetune", "C1")):
        for line in recorded(args, kind):
            if line["labels"] == args.labels and line["epochs"] == args.finetune_epochs:
                epochs = range(1, len(line["train_loss"]) + 1)
                right.plot(epochs, line["train_loss"], style, label=f"{kind} {line['rate']:g}: {line['top1']:.2f} %")
    right.set(title=f"{args.labels} labels", xlabel="epoch", ylabel="training loss")
    if right.lines:
        right.legend(fontsize="small")
    figure.savefig(args.output / "curves.png", dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["pretrain", "probe", "scratch", "finetune", "report", "objectives", "search"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--encoder", help="a convolutional network instead of the ViT, as resnet18")
    parser.add_argument("--width", type=int, default=16, help="its channels in the first stage")
    parser.add_argument("--hidden-cells", choices=["skip", "zero"], default="skip", help="in its pretraining")
    parser.add_argument("--objective", default="spark", help="of its pretraining")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="another option of the runs, as head_deviation=2e-5"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the pretraining")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of fine-tuning and scratch")
    parser.add_argument("--epochs", type=int, default=16, help="of the pretraining")
    parser.add_argument("--knn", action="store_true", help="measure nearest neighbours after each epoch of the pretraining")
    parser.add_argument("--labels", type=int, default=5000)
    parser.add_argument("--finetune-epochs", type=int, default=20)
    parser.add_argument("--finetune-rate", type=float, default=1e-3)
    parser.add_argument("--layer-decay", type=float, default=0.75, help="of the learning rate in fine-tuning; from scratch there is none")
    parser.add_argument("--sweep-epochs", type=int, default=20, help="of the runs that choose the scratch rate")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3, 4e-3])
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=OBJECTIVES)
    parser.add_argument("--budget", type=float, default=1800, help="processor seconds of each pretraining")
    parser.add_argument("--vit", default="vit_mini", help="the encoder of objectives and search, with patches of 4 x 4")
    parser.add_argument("--option", default="pretrain.base_learning_rate", help="that search tries values of")
    parser.add_argument("--values", nargs="+", default=["7.5e-4", "1.5e-3", "3e-3"])
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    commands = {
        "pretrain": pretrain, "probe": probe, "scratch": scratch, "finetune": finetune, "report": report, "objectives": objectives,
        "search": search,
    }  # fmt: skip
    commands[args.command](args)


if __name__ == "__main__":
    main()
