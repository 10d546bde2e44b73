"""The command `mrp`: what its commands do, by means of the package alone."""

import argparse
import csv
import json
import math
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrp import _mrp
from mrp._classifier import knn_score
from mrp._command import INTERRUPTED, TERMINATED, Terminated
from mrp._config import Config, check_keys, option_of, options, presets, text_of, value_of
from mrp._dataset import Dataset, ImageFolder, MaskFolder
from mrp._devices import PROBED, devices
from mrp._estimator import FOLDER_OPTIONS, POINT_OPTIONS
from mrp._labels import cut, known_above, label_array
from mrp._masked_autoencoder import MaskedAutoencoder
from mrp._model import Model
from mrp._mrp import ArgumentError, MrpError, StateError
from mrp._points import PointClouds, PointFolder
from mrp._progress import Reporter
from mrp._segmenter import overlay, palette, write_label_map
from mrp._trainer import Trainer

Phase = Literal["pretrain", "finetune"]
DenseMetric = Literal["miou", "pixel_accuracy", "ap50", "ar_10", "recall", "false_positives"]
DENSE_METRICS: dict[str, tuple[DenseMetric, ...]] = {
    "segment": ("miou", "pixel_accuracy"),
    "instances": ("ap50", "ar_10", "recall", "false_positives"),
}


def open_data(args: argparse.Namespace, data: str, targets: str | None) -> Dataset:
    """The dataset that a DATA argument names."""
    if data.startswith(("generated:", "scenes:", "shapes:")):
        return _generated(args, data)
    path = Path(data)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            if "points" in arrays:
                return PointClouds(arrays["points"], arrays.get("labels"))
            if "images" not in arrays:
                raise ArgumentError(f"'{path}' holds {', '.join(arrays)}: an array named images is needed, and labels where there are any")
            images, labels = arrays["images"], arrays.get("labels")
            if "masks" in arrays and labels is None:
                return Dataset(images, masks=arrays["masks"], layout=args.layout, image_shape=args.image_shape, **_mask_options(args))
    elif path.suffix == ".npy":
        images, labels = np.load(path, mmap_mode="r", allow_pickle=False), None
    else:
        if targets:
            raise ArgumentError(f"--targets belongs to a .npy file: the classes of '{path}' are its folders")
        if PointFolder.is_one(path):
            return PointFolder(path, **{key: value for key, value in args.table.items() if key in POINT_OPTIONS})
        folder = {key: value for key, value in args.table.items() if key in FOLDER_OPTIONS}
        if MaskFolder.is_one(path):
            folder.pop("folder_layout", None)
            split = {"split": args.table["split"]} if "split" in args.table else {}
            return MaskFolder(path, **folder, **split, **_mask_options(args))
        return ImageFolder(path, **folder)
    if targets:
        labels = np.load(targets, allow_pickle=False)
    if labels is None or labels.dtype.kind in "iu":
        return Dataset(images, labels, layout=args.layout, image_shape=args.image_shape)
    classes, numbers = np.unique(label_array(labels), return_inverse=True)
    return Dataset(images, numbers, layout=args.layout, image_shape=args.image_shape).with_class_names(classes)


def _mask_options(args: argparse.Namespace) -> dict[str, Any]:
    given = {key: value for key, value in args.table.items() if key in ("ignore_label", "classes", "mask_kind")}
    return ({"mask_kind": "objects"} if args.table.get("task") == "instances" else {}) | given


def _generated(args: argparse.Namespace, data: str) -> Dataset:
    try:
        count, first = ([int(part) for part in data.split(":")[1:]] + [0])[:2]
    except ValueError:
        raise ArgumentError(f"'{data}' is not generated:COUNT or generated:COUNT:FIRST (scenes: and shapes: likewise)") from None
    if data.startswith("shapes:"):
        points = {key: value for key, value in args.table.items() if key == "points"}
        return PointClouds.generate(count, random_state=int(args.table.get("seed", 0)), synthetic_first_image=first, **points)
    names = ("image_size", "image_height", "image_width", "channels", "synthetic_classes", "synthetic_single_view")
    given = {key: value for key, value in args.table.items() if key in names}
    if args.table.get("task") in ("segment", "instances") or data.startswith("scenes:"):
        given = {key: value for key, value in given.items() if not key.startswith("synthetic_")}
        given |= {key: value for key, value in _mask_options(args).items() if key == "mask_kind"}
        return Dataset.generate_scenes(count, random_state=int(args.table.get("seed", 0)), **{"synthetic_first_image": first, **given})
    return Dataset.generate(count, random_state=int(args.table.get("seed", 0)), **{"synthetic_first_image": first, **given})


def config_of(args: argparse.Namespace, dataset: Dataset | None = None, **more: Any) -> Config:
    """The options that were given, on top of the preset; the images' own size and channels where none were given."""
    table = {key: value for key, value in args.table.items() if key != "seed"} | more
    config = MaskedAutoencoder(preset=getattr(args, "preset", None), **table)._config(dataset)
    if "seed" in args.table:
        config["seed"] = args.table["seed"]
    return config


def report(args: argparse.Namespace, result: dict[str, Any], lines: list[str]) -> None:
    """The result as JSON, or as lines for people."""
    print(json.dumps({key: _plain(value) for key, value in result.items()}) if args.json else "\n".join(lines))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


# ---- Training


def place_run(args: argparse.Namespace, phase: Phase) -> None:
    """Sets the run folder: that of --run-folder, else the one beside the output. Refuses --resume where nothing is to resume, and a folder
    that holds a run without --resume."""
    resume = bool(value_of("continue_run", text_of("continue_run", args.table.get("continue_run", False))))
    folder = str(args.table.get("run_folder") or "")
    args.removes_checkpoints = not folder
    if not folder and args.output:
        folder = f"{args.output.removesuffix('.safetensors')}.run"
    if resume and not folder:
        raise ArgumentError("--resume needs the --output or the --run-folder of the run")
    steps = sorted(int(step) for step in (path.stem.rpartition("-")[2] for path in _checkpoints(folder, phase)))
    if resume and not steps:
        raise StateError(f"there is nothing to resume: '{folder}' has no checkpoint of {phase}")
    if steps and not resume:
        raise StateError(
            f"'{folder}' has a run that got to step {steps[-1]}: --resume goes on with it, another --run-folder leaves it alone"
        )
    args.table |= {"run_folder": folder, "continue_run": resume}


def _checkpoints(folder: str, phase: Phase) -> list[Path]:
    return list(Path(folder).glob(f"{phase}-[0-9]*.ckpt")) if folder else []


def train(args: argparse.Namespace, model: Model, dataset: Dataset, config: Config, phase: Phase) -> dict[str, Any]:
    """Runs until the library ends the run, or until it is interrupted: then the run is suspended."""
    start = time.monotonic()
    if args.validate:
        reference = open_data(args, args.reference, args.reference_targets) if args.reference else None
        model.validate_on(open_data(args, args.validate, args.validate_targets), reference)
    trainer, folder, status = Trainer(model, dataset, config, phase=phase), config["run_folder"], 0
    history: list[dict[str, Any]] = []
    with Reporter(history, args.progress, None) as reporter:
        try:
            for progress in trainer:
                reporter(progress)
        except KeyboardInterrupt as interrupt:
            status = TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED
            if folder and trainer.end is None:
                trainer.suspend()
    if args.output:
        model.save(args.output)
    progress, end = trainer.progress, trainer.end or "cancelled"
    goes_on = bool(folder) and end in ("time_budget", "suspended")
    if args.output and args.removes_checkpoints and not goes_on and not status:
        for path in [*_checkpoints(folder, phase), Path(folder, f"{phase}-rollback.ckpt")]:
            path.unlink(missing_ok=True)
    return {
        "command": args.command,
        "task": config["task"] if phase == "finetune" else None,
        "output": args.output,
        "run_folder": folder or None,
        "finished": end == "finished",
        "stopped": None if end == "finished" else end,
        "goes_on": goes_on,
        "step": progress.step,
        "steps": progress.steps,
        "loss": progress.loss,
        "seconds": round(time.monotonic() - start, 2),
        "images_per_second": progress.images_per_second,
        "plan_bytes": trainer.plan.bytes,
        "best": progress.best,
        "best_step": progress.best_step,
        "history": history,
        "status": status,
    }


def _lines(result: dict[str, Any]) -> list[str]:
    share = f"step {result['step']} of {result['steps']}"
    loss = "" if math.isnan(result["loss"]) else f", loss {result['loss']:.4f}"
    lines = [f"{result['command']}: {share}{loss}, {result['seconds']:.1f} s"]
    if result["stopped"]:
        where = f"; go on with --resume (state in '{result['run_folder']}')" if result["goes_on"] else ""
        lines.append(f"stopped: {'interrupted' if result['status'] else result['stopped'].replace('_', ' ')}{where}")
    if result["best_step"] is not None:
        what = {"segment": "% mean IoU", "instances": "% AP50"}.get(result["task"], "% correct")
        lines.append(f"held-out images: {100 * result['best']:.2f} {what} at best, after step {result['best_step']}")
    if "top1" in result:
        lines.append(f"test images: {100 * result['top1']:.2f} % correct, loss {result['test_loss']:.4f}")
    if "miou" in result:
        lines.append(f"test images: {100 * result['miou']:.2f} % mean IoU, {100 * result['pixel_accuracy']:.2f} % of the pixels correct")
    if "ap50" in result:
        shares = (
            f"{100 * result['ap50']:.2f} % AP50, {100 * result['ar_10']:.2f} % AR@10, {100 * result['recall']:.2f} % of the objects found"
        )
        lines.append(f"test images: {shares}, {result['false_positives']:.2f} false ones an image")
    if "knn_top1" in result:
        lines.append(f"nearest neighbours: {100 * result['knn_top1']:.2f} % correct")
    if result["output"]:
        lines.append(f"wrote {result['output']} (log in '{result['run_folder']}')")
    return lines


def pretrain(args: argparse.Namespace) -> int:
    place_run(args, "pretrain")
    dataset = open_data(args, args.data, args.targets)
    config = config_of(args, None if args.source else dataset)
    model = _source(args) if args.source else Model(config)
    result = train(args, model, dataset, config, "pretrain")
    report(args, result, _lines(result))
    return int(result["status"])


def _source(args: argparse.Namespace) -> Model:
    """The model of --from; its network is what it is."""
    for key in args.table:
        option = option_of(key)
        if option and option.section == "network" and key not in ("pooling", "classes"):
            raise ArgumentError(f"--{key.replace('_', '-')} cannot be given: the model of --from has it already")
    return Model.load(args.source)


def finetune(args: argparse.Namespace, **more: Any) -> int:
    place_run(args, "finetune")
    dataset = open_data(args, args.data, args.targets)
    test = open_data(args, args.test, args.test_targets) if args.test else None
    seed = int(args.table.get("seed", 0))
    few = dataset if args.labels is None else dataset.subset(args.labels, random_state=seed)
    config = config_of(args, None if args.source else dataset, **more)
    model = _source(args) if args.source else Model(config)
    encoder = model.copy() if getattr(args, "knn", None) else None
    result = train(args, model, few, config, "finetune")
    dense = DENSE_METRICS.get(config["task"])
    if test is not None and not result["status"] and dense:
        result |= {name: model.evaluate(test, name, config) for name in dense}
    elif test is not None and not result["status"]:
        result |= {"top1": model.evaluate(test, "top1", config), "test_loss": model.evaluate(test, "loss", config)}
        if encoder:
            result["knn_top1"] = knn_score(encoder, few, None, test, None, k=args.knn)
    report(args, result, _lines(result))
    return int(result["status"])


def probe(args: argparse.Namespace) -> int:
    if not args.source:
        raise ArgumentError("probe measures an encoder: name it with --from FILE")
    if args.knn and not args.test:
        raise ArgumentError("--knn measures on test images: name them with --test DATA")
    return finetune(args, frozen_encoder=True)


# ---- Use


def predict(args: argparse.Namespace) -> int:
    model = Model.load(args.model)
    if not model.classes:
        raise StateError(f"'{args.model}' has no classifier: fine-tune it first")
    task = model.info["libmrp"].get("task")
    if task == "instances":
        args.table.setdefault("task", task)
    dataset = open_data(args, args.data, args.targets)
    config = config_of(args)
    if task == "segment":
        return _predict_maps(args, model, dataset, config)
    if task == "instances":
        return _predict_instances(args, model, dataset, config)
    probabilities = model.predict_proba(dataset, config)
    names = model.class_names(config) if config["label_level"] else model.info["libmrp"].get("class_names") or model.class_names()
    best = probabilities[:, : len(names)].argmax(1)
    rows = [(dataset.image_name(i), names[label], float(probabilities[i, label])) for i, label in enumerate(best)]
    if args.output and args.output.endswith(".npy"):
        np.save(args.output, probabilities)
    elif args.output:
        with open(args.output, "w", newline="") as file:
            _write_rows(file, rows)
    result: dict[str, Any] = {"command": "predict", "model": args.model, "images": len(rows), "output": args.output}
    accuracy = _accuracy(dataset, names, best, config["label_level"])
    if accuracy is not None:
        result["top1"] = accuracy
    if args.json:
        result["predictions"] = [{"image": image, "class": name, "probability": round(share, 6)} for image, name, share in rows]
        report(args, result, [])
        return 0
    if not args.output:
        _write_rows(sys.stdout, rows)
    said = f"{len(rows)} images" + ("" if accuracy is None else f", {100 * accuracy:.2f} % correct by their labels")
    print(said + (f": wrote {args.output}" if args.output else ""), file=sys.stderr)
    return 0


def cluster(args: argparse.Namespace) -> int:
    model, dataset = Model.load(args.model), open_data(args, args.data, args.targets)
    found = dataset.cluster(model, args.per_class, config_of(args))
    names = [_mrp.dataset_class_name(found._handle, int(label)) for label in np.asarray(found.labels)]
    images, output = [found.image_name(index) for index in range(len(found))], Path(args.output)
    if output.suffix == ".npy":
        np.save(output, np.array(names))
    elif output.suffix == ".csv":
        with output.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("image", "class"), *zip(images, names, strict=True)])
    else:
        _link(output, images, names)
    result = {"command": "cluster", "output": args.output, "images": len(names), "classes": found.classes}
    report(args, result, [f"{len(names)} images, {found.classes} classes: wrote {args.output}"])
    return 0


def _link(folder: Path, images: list[str], names: list[str]) -> None:
    """A new folder of links <class>/<number>-<file>, which opens as a tree of labels."""
    if folder.exists():
        raise ArgumentError(f"'{folder}' exists: links are written into a new folder")
    if missing := next((image for image in images if not Path(image).is_file()), None):
        raise ArgumentError(f"'{missing}' is no file to link to: write a FILE.csv or a FILE.npy instead")
    digits = len(str(len(images)))
    for index, (image, name) in enumerate(zip(images, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{index:0{digits}d}-{Path(image).name}").symlink_to(Path(image).resolve())


def _predict_maps(args: argparse.Namespace, model: Model, dataset: Dataset, config: Config) -> int:
    """Writes a map of classes for each image, a PNG with the palette of VOC, and labelmap.txt."""
    maps, names = model.segment(dataset, config), model.class_names()
    shares = model.segment_proba(dataset, config) if args.scores else None
    result: dict[str, Any] = {"command": "predict", "model": args.model, "images": len(dataset), "output": args.output or "maps"}
    folder, lines = Path(result["output"]), []
    for index, stem in enumerate(_stems(dataset, folder)):
        ids = np.asarray(maps[index])
        (folder / f"{stem}.png").write_bytes(png_of_ids(ids, len(names)))
        if shares is not None:
            np.save(folder / f"{stem}.npy", shares[index])
        if args.overlay:
            (folder / f"{stem}.overlay.png").write_bytes(png(overlay(dataset.image(index), ids)))
    write_label_map(folder, names)
    lines.append(f"wrote {len(dataset)} maps and labelmap.txt to {folder}")
    if dataset.has_masks:
        result["miou"] = model.evaluate(dataset, "miou", config)
        lines.append(f"{100 * result['miou']:.2f} % mean IoU by their masks")
    report(args, result, lines)
    return 0


def _stems(dataset: Dataset, folder: Path) -> list[str]:
    """The name of each image's map in the folder, which is made: that of its file, or its number."""
    stems = []
    for index in range(len(dataset)):
        name = dataset.image_name(index)
        stems.append(Path(name).stem if os.sep in name else f"{index:05d}")
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None) if len(set(stems)) < len(stems) else None:
        raise ArgumentError(f"two images are called {twice}: predict their folders one by one")
    folder.mkdir(parents=True, exist_ok=True)
    return stems


def _predict_instances(args: argparse.Namespace, model: Model, dataset: Dataset, config: Config) -> int:
    """Writes a map of objects for each image, a gray PNG of 16 bits, and a list of all: image, number, score, box."""
    found = model.instances(dataset, config)
    result: dict[str, Any] = {"command": "predict", "model": args.model, "images": len(dataset), "output": args.output or "maps"}
    folder, total = Path(result["output"]), sum(len(each.scores) for each in found)
    stems = _stems(dataset, folder)
    with (folder / "instances.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "instance", "score", "left", "top", "right", "bottom"])
        for stem, each in zip(stems, found, strict=True):
            (folder / f"{stem}.png").write_bytes(png_of_ids(each.ids, 65_536))
            writer.writerows((stem, i + 1, f"{score:.4f}", *box) for i, (score, box) in enumerate(zip(each.scores, each.boxes.tolist())))
    result["instances"] = total
    lines = [f"wrote {len(dataset)} maps with {total} instances, and instances.csv, to {folder}"]
    if dataset.has_masks:
        result |= {name: model.evaluate(dataset, name, config) for name in ("ap50", "recall", "false_positives")}
        lines.append(f"{100 * result['ap50']:.2f} % AP50, {100 * result['recall']:.2f} % of the objects by their masks found")
    report(args, result, lines)
    return 0


def _write_rows(file: Any, rows: list[tuple[str, str, float]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["image", "class", "probability"])
    writer.writerows((image, name, f"{share:.4f}") for image, name, share in rows)


def _accuracy(dataset: Dataset, names: list[str], best: npt.NDArray[np.intp], level: int) -> float | None:
    """Share of images whose predicted class has the name of their label's; None where no class of theirs is known."""
    labels = dataset.labels
    if labels is None:
        return None
    own = [_mrp.dataset_class_name(dataset._handle, index) for index in range(dataset.classes)]
    if dataset.class_names is None and not all(name.lstrip("-").isdigit() for name in names):
        own = [names[index] if index < len(names) else "" for index in range(dataset.classes)]
    own = known_above(cut(np.array(own), level), np.array(names)).tolist()
    if not set(own) & set(names):
        return None
    return float(np.mean([own[label] == names[guess] for label, guess in zip(labels, best)]))


def encode(args: argparse.Namespace) -> int:
    features = Model.load(args.model).encode(open_data(args, args.data, args.targets), config_of(args))
    np.save(args.output, features)
    output = args.output if args.output.endswith(".npy") else f"{args.output}.npy"
    shape = " x ".join(map(str, features.shape))
    report(args, {"command": "encode", "output": output, "shape": list(features.shape)}, [f"wrote {output}: {shape} float32"])
    return 0


def reconstruct(args: argparse.Namespace) -> int:
    model, dataset = Model.load(args.model), open_data(args, args.data, args.targets)
    count = min(args.count, len(dataset)) if args.count > 0 else len(dataset)
    images = dataset.images(0, count, size=model.image_shape[1:])
    result = model.reconstruct(Dataset(images, layout="NCHW"), config_of(args))
    (rows, columns), (_, height, width) = model.grid, model.image_shape
    hidden = result.masks.reshape(count, 1, rows, columns).repeat(height // rows, axis=2).repeat(width // columns, axis=3)
    masked = np.where(hidden, np.float32(0.5), result.images)
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    gap = np.ones((images.shape[1], height, 2), np.float32)
    for index in range(count):
        parts = (result.images[index], gap, masked[index], gap, result.reconstructions[index])
        (folder / f"{index:05d}.png").write_bytes(png(np.concatenate(parts, axis=2)))
    lines = [f"loss over hidden patches {result.loss:.4f}", f"wrote {count} pictures to {folder}: original, masked, reconstructed"]
    report(args, {"command": "reconstruct", "output": str(folder), "images": count, "loss": result.loss}, lines)
    return 0


# ---- Experts


def upcycle(args: argparse.Namespace) -> int:
    model, dataset = Model.load(args.model), open_data(args, args.data, args.targets)
    mixture = model.upcycle(dataset, config_of(args, moe_experts=args.experts))
    mixture.save(args.output)
    result = {"command": "upcycle", "output": args.output, "experts": mixture.info["libmrp"]["experts"]}
    routing, parameters = result["experts"]["routing"], mixture.info["parameters"]
    report(args, result, [f"{args.experts} experts, routing {routing}, {parameters:,} weights", f"wrote {args.output}"])
    return 0


def experts(args: argparse.Namespace) -> int:
    model, dataset = Model.load(args.model), open_data(args, args.data, args.targets)
    config = config_of(args)
    found = model.experts(dataset, config)
    best = int(found.losses.argmin())
    counts = [""] * len(found.losses) if found.counts is None else [f", {count} images" for count in found.counts]
    lines = [
        f"expert {expert}: loss {loss:.4f}{count}{' (best)' if expert == best else ''}"
        for expert, (loss, count) in enumerate(zip(found.losses, counts, strict=True))
    ]
    result: dict[str, Any] = {"command": "experts", "losses": found.losses.tolist(), "best": best, "output": args.output}
    if found.counts is not None:
        result["counts"] = found.counts.tolist()
    if args.output:
        expert = best if args.expert == -1 else args.expert
        model.extract(expert=expert).save(args.output)
        lines.append(f"wrote {args.output}: expert {expert}")
    report(args, result, lines)
    return 0


def png_of_ids(ids: npt.NDArray[np.uint16], classes: int) -> bytes:
    """Ids of classes as a PNG file: 8 bits with the palette of VOC, or 16 bits gray where there are more than 256 classes."""
    if classes > 256:
        return _png(ids.astype(">u2")[..., None].view(np.uint8), depth=16, colour=0)
    return _png(np.minimum(ids, 255).astype(np.uint8)[..., None], depth=8, colour=3, extra=(b"PLTE", palette(256).tobytes()))


def png(image: npt.NDArray[np.float32]) -> bytes:
    """An image (channels, height, width) in 0 ... 1 as a PNG file: three channels in colour, else the first one in gray."""
    pixels = np.clip(np.rint(255 * (image if image.shape[0] == 3 else image[:1])), 0, 255).astype(np.uint8)
    return _png(pixels.transpose(1, 2, 0), depth=8, colour=2 if len(pixels) == 3 else 0)


def _png(rows: npt.NDArray[np.uint8], *, depth: int, colour: int, extra: tuple[bytes, bytes] | None = None) -> bytes:
    """A PNG file of bytes (height, width, bytes of a pixel); `extra`: a chunk before the pixels."""
    height, width = rows.shape[:2]
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    between = chunk(*extra) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + between + chunk(b"IDAT", zlib.compress(lines.tobytes())) + chunk(b"IEND", b"")


# ---- Information


def export(args: argparse.Namespace) -> int:
    if args.step:
        if args.data is None or args.format != "stablehlo":
            raise ArgumentError("--step writes the step of training on DATA, as stablehlo: both are needed")
        dataset = open_data(args, args.data, args.targets)
        config = config_of(args, None if args.model else dataset)
        model = Model.load(args.model) if args.model else Model(config)
        Trainer(model, dataset, config, phase=args.step).export("stablehlo", args.output)
    elif args.model is None:
        raise ArgumentError("--model names what is exported; a training step takes --step and DATA")
    else:
        model = Model.load(args.model)
        write = model.export_stablehlo if args.format == "stablehlo" else model.export_onnx
        write(args.output, config_of(args))
    report(args, {"command": "export", "output": args.output, "format": args.format}, [f"wrote {args.output}: {args.format}"])
    return 0


def info(args: argparse.Namespace) -> int:
    if args.devices is not None:
        return _device_info(args)
    if args.file is None:
        raise ArgumentError("info takes a FILE, or --devices")
    path = Path(args.file)
    if path.is_dir():
        points = PointFolder.is_one(path)
        folder = PointFolder(path) if points else ImageFolder(path)
        kind = "folder of point clouds" if points else "image folder"
        description: dict[str, Any] = {"kind": kind, "shape": list(folder.shape), "classes": folder.class_names}
        lines = [repr(folder)] + ([f"classes: {', '.join(folder.class_names)}"] if folder.class_names else [])
    elif path.suffix in (".npy", ".npz"):
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = {"array": loaded} if path.suffix == ".npy" else {name: loaded[name] for name in loaded}
        description = {"kind": "arrays", "arrays": {name: {"shape": list(a.shape), "type": str(a.dtype)} for name, a in arrays.items()}}
        lines = [f"{name}: {' x '.join(map(str, a.shape)) or 'a number'} {a.dtype}" for name, a in arrays.items()]
    elif path.suffix == ".json":
        description = _json_info(path)
        lines = [f"{description['kind']}"] + [f"  {key}: {_short(value)}" for key, value in description["contents"].items()]
    else:
        description = json.loads(_mrp.file_describe(os.fspath(path)))
        lines = _file_lines(description)
    report(args, {"file": os.fspath(path), **description}, [f"{path}", *lines])
    return 0


def _device_info(args: argparse.Namespace) -> int:
    """What the plug-in of one device sees, or of those that can be looked up; a reason where that is nothing."""
    found: dict[str, Any] = {}
    for name in [args.devices] if args.devices else PROBED:
        try:
            found[name] = devices(name)
        except MrpError as error:
            if args.devices:
                raise
            found[name] = {"error": str(error)}
    report(args, {"devices": found}, [line for name, seen in found.items() for line in _device_lines(name, seen)])
    return 0


def _device_lines(name: str, seen: dict[str, Any]) -> list[str]:
    if "error" in seen:
        return [f"{name}: {seen['error']}"]
    lines = [f"{name}: {len(seen['devices'])} {seen['platform']}, {' '.join(seen['version'].split())}, {seen['plugin']}"]
    for number, device in enumerate(seen["devices"]):
        memory = f", {device['bytes_in_use'] >> 20} of {device['bytes_limit'] >> 20} MiB in use" if device["bytes_limit"] else ""
        lines.append(f"  {number}: {device['kind']}{memory}")
    return lines


def _json_info(path: Path) -> dict[str, Any]:
    try:
        contents = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _mrp.FormatError(f"'{path}' is not JSON: {error}") from None
    if not isinstance(contents, dict):
        raise _mrp.FormatError(f"'{path}' is JSON, but none of this library's")
    kind = "model configuration" if "hidden_size" in contents else "laboratory report" if "claims" in contents else "JSON"
    return {"kind": kind, "contents": contents}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _file_lines(description: dict[str, Any]) -> list[str]:
    tensors, network = description["tensors"], description.get("configuration")
    count = sum(math.prod(tensor["shape"]) for tensor in tensors)
    lines = [f"{description['kind']}, {description['bytes']:,} bytes, {len(tensors)} tensors, {count:,} numbers"]
    if network:
        sizes = {
            key: f"{value} x {value}" if isinstance(value, int) else " x ".join(map(str, value))
            for key, value in network.items()
            if key in ("image_size", "patch_size")
        }
        heads = f"width {network['hidden_size']}, depth {network['num_hidden_layers']}" if "hidden_size" in network else ""
        heads += f", {network['num_attention_heads']} heads" if "num_attention_heads" in network else ""
        lines.append(f"encoder: {network.get('architecture') or heads}")
        patches = f", patches {sizes['patch_size']}" if "patch_size" in sizes else ""
        lines.append(f"images: {network['num_channels']} x {sizes['image_size']}{patches}")
        ours = network.get("libmrp", {})
        if "decoder_hidden_size" in network:
            lines.append(f"decoder: width {network['decoder_hidden_size']}, depth {network['decoder_num_hidden_layers']}")
        if "classes" in ours:
            names = ours.get("class_names") or []
            lines.append(
                f"classifier: {ours['classes']} classes"
                + (f": {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else "")
            )
        lines.append(f"pretrained: {'yes' if ours.get('is_pretrained') else 'no'}")
    if state := description.get("state"):
        lines.append(f"run: {state['phase']}, step {state['step']} of {state['steps']}, batches of {state['batch']}, seed {state['seed']}")
    return lines


def list_options(args: argparse.Namespace) -> int:
    check_keys(dict.fromkeys(args.key))
    if args.preset:
        print(json.dumps(presets()[args.preset].values, indent=2))
        return 0
    chosen = [option for option in options().values() if not args.key or option.key in args.key]
    if args.json:
        table: dict[str, Any] = {"options": [option._asdict() for option in chosen]}
        if not args.key:
            table["presets"] = [preset._asdict() for preset in presets().values()]
        print(json.dumps(table))
        return 0
    section = ""
    for option in chosen:
        if option.section != section:
            section = option.section
            print(f"{section}:")
        print(f"  --{option.key.replace('_', '-')}  {option.type}, {option.limits}; default {option.default}\n      {option.summary}")
    if not args.key:
        print("presets:")
        for preset in presets().values():
            print(f"  {preset.name}  {preset.summary}\n      {', '.join(f'{key} {value}' for key, value in preset.values.items())}")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "pretrain": pretrain,
    "finetune": finetune,
    "probe": probe,
    "predict": predict,
    "encode": encode,
    "reconstruct": reconstruct,
    "cluster": cluster,
    "upcycle": upcycle,
    "experts": experts,
    "export": export,
    "info": info,
    "options": list_options,
}
