#!/usr/bin/env python3
"""Fingerprints: a hash of what very short runs of everything end with, so that a rewrite of the insides cannot change a number unseen.

fingerprints.py                            # every row, on each instruction set of this processor, against Tests/fixtures/fingerprints.json
fingerprints.py --record                   # write what there is now into that file; sets of other processors stay as they are
fingerprints.py --only 'pretrain/*/vit*' --isa avx2 --threads 3
fingerprints.py --list

A row is a SHA-256 over the weights (name, type, shape, bytes of each), over the losses and measurements of each step, and over whatever
else the row computes. It goes through the public Python package only, which a redesign of the library leaves alone.
"""

import argparse
import hashlib
import json
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bindings/python"))
import mrp  # noqa: E402
import numpy as np  # noqa: E402

TABLE = ROOT / "Tests/fixtures/fingerprints.json"
STORED_IMAGES = ROOT / "Tests/fixtures/images"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a model that is saved is synchronised: on a disk that is most of a row's time
INSTRUCTIONS = ("baseline", "avx2", "avx512", "neon")
ADVICE = "If this is meant: `make fingerprints` records it, and the diff of Tests/fixtures/fingerprints.json shows what changed."

Options = dict[str, Any]
Row = Callable[[Options], list[Any]]  # gets the options `instructions` and `threads`, gives what is hashed
Data = Callable[[], Any]

# ---- Hashes


def digest(values: Iterable[Any]) -> str:
    """Numbers go in by their repr, which is exact; arrays with type and shape."""
    total = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            total.update(f"{value.dtype.str} {value.shape}\n".encode())
            total.update(np.ascontiguousarray(value).tobytes())
        else:
            total.update(f"{value!r}\n".encode())
    return total.hexdigest()


def weights(model: mrp.Model, **options: Any) -> list[Any]:
    """(name, type, shape, bytes) of each tensor of the model's file, by name. Its metadata may change."""
    with tempfile.TemporaryDirectory(prefix="mrp-", dir=MEMORY) as folder:
        path = Path(folder, "model.safetensors")
        model.save(path, options)
        content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    return [(name, entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in sorted(header.items())]


MEASURED = "step epoch loss mean_loss learning_rate top1 top5 validation_loss knn_top1 probe_top1 best best_step feature_std feature_rank"


def measured(progress: mrp.Progress) -> tuple[Any, ...]:
    """What a step reports, but the time."""
    return tuple(getattr(progress, name) for name in MEASURED.split())


# ---- Images: integers of a formula, smooth with noise, so that neither a generator of random numbers nor a file is behind them


@cache
def pictures(channels: int = 3, height: int = 16, width: int = 16, count: int = 10, type: str = "uint8", first: int = 0) -> np.ndarray:
    n, c, y, x = np.ogrid[first : first + count, :channels, :height, :width]
    waves = (7 * n + 3) * x + (5 * n + 11 * c) * y + 40 * c + 60 * (n % 3)
    noise = (((n * 31 + c) * 67 + y) * 71 + x) * 2654435761 % (1 << 32) >> 24
    values = (3 * np.abs(waves % 256 - 128) + noise // 2) % 256
    if type == "float32":
        return (values / 256).astype(np.float32)
    return (values * 257 if type == "uint16" else values).astype(type)


def labelled(classes: int = 3, **shape: Any) -> mrp.Dataset:
    images = pictures(**shape)
    return mrp.Dataset(images, np.arange(len(images), dtype=np.int32) % classes, layout="NCHW")


def folder(*names: str, repeat: int = 2, **options: Any) -> Data:
    """A folder of two classes with stored images, each of them `repeat` times in both."""

    def open_folder() -> mrp.ImageFolder:
        path = Path(tempfile.mkdtemp(prefix="mrp-", dir=_scratch()))
        for label in ("cat", "dog"):
            (path / label).mkdir()
            for index in range(repeat):
                for name in names:
                    shutil.copy(STORED_IMAGES / name, path / label / f"{index}-{name}")
        return mrp.ImageFolder(path, **options)

    return open_folder


@cache
def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mrp-", dir=MEMORY)  # removed when Python ends


def _scratch() -> str:
    return _scratch_folder().name


# ---- Networks

DECODER = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
FAMILIES: dict[str, Options] = {
    "vit": {"encoder": "vit_mini", "image_size": 16, "patch_size": 2, "width": 32, "depth": 2, "heads": 2, "mlp_ratio": 2} | DECODER,
    "resnet": {"encoder": "resnet18", "image_size": 24, "stem": "cifar", "width": 4, "decoder_width": 16},
    "convnext": {"encoder": "convnextv2_atto", "image_size": 24, "stem": "cifar", "width": 4, "decoder_width": 16},
}
OTHERS: dict[str, Options] = {
    "resnet34": {"encoder": "resnet34", "width": 4, "image_size": 16},
    "resnet50": {"encoder": "resnet50", "width": 4, "image_size": 16},
    "resnet18_imagenet": {"encoder": "resnet18", "width": 4, "image_size": 64, "stem": "imagenet"},
    "convnextv2_atto_imagenet": {"encoder": "convnextv2_atto", "width": 4, "image_size": 64, "stem": "imagenet"},
    "vit_rectangular": FAMILIES["vit"] | {"image_height": 12, "image_width": 20, "patch_height": 2, "patch_width": 4},
}
NETWORKS = FAMILIES | OTHERS
# 10 images in batches of 4: a rest that does not fill a batch, and three steps, of which the last belongs to another epoch.
RUN: Options = {"epochs": 1.5, "batch_size": 4, "learning_rate": 0.005, "warmup_epochs": 0, "codebook_size": 16, "seed": 3}


def usual_data(family: str) -> mrp.Dataset:
    size = NETWORKS[family]["image_size"]
    return labelled(height=size, width=size)


def _trained(model: mrp.Model, data: Any, options: Options, phase: Any, **fillers: Any) -> list[Any]:
    return [measured(progress) for progress in mrp.Trainer(model, data, options, phase=phase, **fillers)]


# ---- Kinds of rows


@cache
def _trained_once(family: str, phase: Any, machine: tuple[tuple[str, Any], ...]) -> mrp.Model:
    every = NETWORKS[family] | RUN | dict(machine)
    model = mrp.Model(every)
    _trained(model, usual_data(family), every, phase)
    return model


def trained(family: str, machine: Options, phase: str = "pretrain") -> mrp.Model:
    """A model for rows that begin with a trained one: a copy, because one training is enough for all of them."""
    return _trained_once(family, phase, tuple(machine.items())).copy()


def pretrain(
    family: str, data: Data | None = None, masking: Any = None, targets: Any = None, validate: bool = False, **options: Any
) -> Row:
    def row(machine: Options) -> list[Any]:
        every = NETWORKS[family] | RUN | machine | options
        model = mrp.Model(every)
        if validate:
            model.validate_on(labelled(count=6, first=10), labelled())
        return [
            *_trained(model, data() if data else usual_data(family), every, "pretrain", masking=masking, targets=targets),
            weights(model),
        ]

    return row


def supervised(family: str, data: Data | None = None, validate: bool = False, **options: Any) -> Row:
    def row(machine: Options) -> list[Any]:
        every = NETWORKS[family] | RUN | machine | options
        model = mrp.Model(every)
        if validate:
            model.validate_on(labelled(count=6, first=10))
        return [*_trained(model, data() if data else usual_data(family), every, "finetune"), weights(model)]

    return row


def finetune(family: str, **options: Any) -> Row:
    def row(machine: Options) -> list[Any]:
        model = trained(family, machine)
        return [*_trained(model, usual_data(family), RUN | machine | options, "finetune"), weights(model)]

    return row


def resumed(family: str, phase: Any = "pretrain", **options: Any) -> Row:
    """The run of `pretrain` or `supervised`, cut after its first step and continued by another trainer from a checkpoint."""

    def row(machine: Options) -> list[Any]:
        every = NETWORKS[family] | RUN | machine | options
        with tempfile.TemporaryDirectory(prefix="mrp-", dir=MEMORY) as folder:
            path = Path(folder, "run.ckpt")
            first = mrp.Trainer(mrp.Model(every), usual_data(family), every, phase=phase)
            steps = [measured(progress) for _, progress in zip(range(1), first)]
            first.save(path)
            model = mrp.Model(every)
            second = mrp.Trainer(model, usual_data(family), every, phase=phase)
            second.resume(path)
            return [*steps, *(measured(progress) for progress in second), weights(model)]

    return row


def resumed_in_folder(family: str, **options: Any) -> Row:
    """The same through a run folder: a callback ends the first run after its first step."""

    def row(machine: Options) -> list[Any]:
        with tempfile.TemporaryDirectory(prefix="mrp-", dir=MEMORY) as folder:
            every = NETWORKS[family] | RUN | machine | options | {"run_folder": folder, "checkpoint_steps": 1, "tensorboard": False}
            steps: dict[int, Any] = {}

            def note(progress: mrp.Progress, last: int | None) -> bool:
                if not np.isnan(progress.loss):  # a run calls back between its steps too, and before the first has no loss yet
                    steps[progress.step] = measured(progress)
                return progress.step == last

            for last in (1, None):
                model = mrp.Model(every)
                model.pretrain(usual_data(family), every, callback=lambda progress, last=last: note(progress, last))
            return [*steps.values(), weights(model)]

    return row


def upcycled(family: str, **options: Any) -> Row:
    """A mixture made of a pretrained model, trained on; what its experts are for the images; one of them taken out."""

    def row(machine: Options) -> list[Any]:
        model, data, every = trained(family, machine), usual_data(family), RUN | machine | options
        mixture = model.upcycle(data, every)
        steps = _trained(mixture, data, every, "pretrain")
        found = mixture.experts(data, every)
        return [*steps, weights(mixture), found.losses, found.counts, found.numbers, weights(mixture.extract(data, every))]

    return row


def use(family: str, what: Callable[[mrp.Model, Options], list[Any]], classifier: bool = False) -> Row:
    """What a pretrained model, or a classifier trained from scratch, gives for images."""
    return lambda machine: what(trained(family, machine, "finetune" if classifier else "pretrain"), machine)


def images_of(make: Data, **options: Any) -> Row:
    """The images and labels of a dataset."""

    def row(machine: Options) -> list[Any]:
        data = make()
        return [data.shape, data.classes, data.class_names, data.labels, data.images(**options)]

    return row


TIMES_AND_PLACES = ("seconds", "bytes", "data_bytes", "threads", "instructions", "version", "format")


def _numbers_only(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers_only(item) for key, item in value.items() if key not in TIMES_AND_PLACES}
    return [_numbers_only(item) for item in value] if isinstance(value, list) else value


LAB: Options = {
    "k": 4, "d": 16, "P": 10, "m": 6, "N_pre": 60, "T": 30, "N": 60, "finetune_steps": 20, "supervised_steps": 20, "N_test": 60,
    "converged_steps": 20, "converged_kernels_per_class": 6, "probe_every": 10, "tau": 1.3, "rel_step": 0.1,
}  # fmt: skip


def lab(**options: Any) -> Row:
    """The quick preset, made smaller, with all arms: pretraining, fine-tuning, frozen probe, supervised learning, controls."""

    def row(machine: Options) -> list[Any]:
        report = mrp.lab.run("quick", progress=False, **LAB | {"controls": True, "frozen_probe": True} | machine | options)
        correlations = [report.correlations(moment=moment) for moment in ("initial", "pretrained", "supervised")]
        return [json.dumps(_numbers_only(report.data), sort_keys=True), *correlations]

    return row


def lab_study(machine: Options) -> list[Any]:
    table = mrp.lab.study({"tau": [1.1, 1.3], "theta": [0.4, 0.6]}, "quick", progress=False, **LAB | machine)
    return [[(key, value) for key, value in row.items() if key not in ("seconds", "options")] for row in table]


def lab_samples(kind: Any) -> Row:
    return lambda machine: list(mrp.lab.generate(20, kind=kind, first=5, seed=2, **LAB))


# ---- The rows


def _title(prefix: str, options: Options) -> str:
    return "/".join([prefix, ",".join(f"{key}={value}" for key, value in options.items())]) if options else prefix


def _mask(numbers: np.ndarray) -> np.ndarray:
    mask = np.zeros((len(numbers), 64), np.uint8)
    for row, number in enumerate(numbers):
        mask[row, (np.arange(40) * 3 + number) % 64] = 1
    return mask


def _noise(numbers: np.ndarray) -> np.ndarray:
    return ((np.arange(64) * 37 + numbers[:, None] * 11) % 101 / 101).astype(np.float32)


def _targets(side: int, cells: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The first pixel of each patch, without any sum whose order could be another one elsewhere."""

    def targets(numbers: np.ndarray, images: np.ndarray) -> np.ndarray:
        return images[:, :, ::side, ::side].reshape(len(images), images.shape[1], cells).transpose(0, 2, 1) + (numbers % 5)[:, None, None]

    return targets


GIVEN = {
    "vit": {"objective": "given", "target_width": 3, "targets": _targets(2, 64)},
    "resnet": {"objective": "given", "target_width": 3, "targets": _targets(8, 9)},
    "convnext": {"objective": "given", "target_width": 3, "targets": _targets(8, 9)},
}
CELL_OBJECTIVES = ("simmim", "maskfeat", "beit", "data2vec", "teacher_student", "given")
WITH_TOKENS = ("simmim", "maskfeat", "beit", "data2vec", "given")


def pretrain_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}

    def add(objective: str, family: str, **options: Any) -> None:
        own = GIVEN[family] if objective == "given" else {"objective": objective}
        rows[_title(f"pretrain/{objective}/{family}", options)] = pretrain(family, **own | options)

    for objective in ("mae", "ijepa", *CELL_OBJECTIVES):
        add(objective, "vit")
    for family in ("resnet", "convnext"):
        for objective in ("spark", *CELL_OBJECTIVES):
            add(objective, family)
        for objective in ("spark", *WITH_TOKENS) if family == "resnet" else ("spark", "data2vec"):
            add(objective, family, hidden_cells="zero")
    for objective in WITH_TOKENS:
        add(objective, "vit", hidden_cells="skip")
    for pattern in ("block", "grid", "multi_block"):
        for objective, family in (("mae", "vit"), ("simmim", "vit"), ("spark", "resnet"), ("data2vec", "convnext")):
            if family == "vit" or pattern != "multi_block":  # four blocks need more than 3 x 3 cells
                add(objective, family, mask_pattern=pattern)
    for objective, family in (("maskfeat", "vit"), ("data2vec", "vit"), ("beit", "vit")):
        add(objective, family, mask_pattern="random")
    for objective, family, flag in (("mae", "vit", False), ("simmim", "vit", True), ("beit", "vit", False), ("spark", "resnet", False)):
        add(objective, family, norm_pix_loss=flag)
    add("simmim", "convnext", norm_pix_loss=True)
    for objective, family in (("data2vec", "vit"), ("ijepa", "vit"), ("teacher_student", "vit"), ("data2vec", "resnet")):
        add(objective, family, target_norm="instance")
    add("teacher_student", "convnext", target_norm="instance")
    add("data2vec", "vit", teacher_layers=2)
    add("data2vec", "vit", teacher_decay=0.5, teacher_decay_end=0.9)
    add("data2vec", "vit", smooth_l1_beta=0.5)
    add("ijepa", "vit", smooth_l1_beta=0.1)
    add("given", "vit", smooth_l1_beta=0.5)
    add("beit", "vit", codebook_size=5)
    add("maskfeat", "vit", patch_size=4)
    add("mae", "vit", patch_size=4)
    add("mae", "vit", mask_ratio=0.5)
    add("spark", "resnet", mask_ratio=0.4)
    add("spark", "resnet", image_size=32, cell_size=16)
    add("mae", "vit", decoder_depth=2, decoder_heads=4)
    add("mae", "vit", drop_path=0.3)
    add("mae", "vit", mlp_ratio=4, layer_norm_eps=1e-5, heads=4)
    add("mae", "vit", seed=4)
    add("spark", "convnext", drop_path=0.3)
    for family in ("resnet34", "resnet50", "resnet18_imagenet", "convnextv2_atto_imagenet"):
        add("spark", family, decoder_width=32)
    for rectangle in ("mae", "simmim", "maskfeat"):
        rows[f"pretrain/{rectangle}/vit_rectangular"] = pretrain("vit_rectangular", objective=rectangle)
    rows["pretrain/mae/vit/masks of the caller"] = pretrain("vit", masking=_mask, mask_ratio=40 / 64)
    rows["pretrain/data2vec/vit/noise of the caller"] = pretrain("vit", objective="data2vec", masking=_noise)
    mixture = {"moe_experts": 2, "moe_blocks": 1}
    add("mae", "vit", **mixture, moe_routing="token")
    add("simmim", "vit", **mixture, moe_routing="token", moe_gate="probability", recompute=True)
    add("mae", "vit", **mixture, moe_routing="expert_choice", drop_path=0.3)
    add("mae", "vit", **mixture, moe_routing="expert_choice", moe_gate="selected", moe_capacity=1.5)
    for options in ({}, {"moe_blocks": 2, "drop_path": 0.3, "moe_shuffled_clusters": True}):
        rows[_title("upcycled/mae/vit", options)] = upcycled("vit", **mixture | {"moe_clusters": 3} | options)
    add("montage", "resnet", image_size=32)
    add("montage", "resnet", image_size=32, montage_sides=1, montage_predictor="per_level", blur="0.5,0.1", solarize="0.2", grayscale=0.5)
    add("montage", "convnext", montage_levels=1)
    for probe in ("knn", "linear", "both"):
        rows[f"pretrain/mae/vit/validated by {probe}"] = pretrain(
            "vit", validate=True, probe=probe, validate_epochs=1, knn_k=3, probe_epochs=5
        )
    rows["pretrain/mae/vit/best restored"] = pretrain(
        "vit", validate=True, validate_epochs=0.5, restore_best=True, early_stopping=2, knn_k=3
    )
    return rows


# What changes a training that has labels, for every family.
SUPERVISED: list[Options] = [
    {},
    {"mixup": 0.8},
    {"cutmix": 1.0},
    {"drop_path": 0.3},
    {"accumulation_steps": 2},
    {"ema_decay": 0.9},
    {"recompute": True},
    {"layer_decay": 0.6},
    {"head_deviation": 0.001},
]
# What is the same code for all of them, on one.
SUPERVISED_ONCE: list[Options] = [
    {"mixup": 0.8, "cutmix": 1.0, "mix_probability": 0.7, "mix_switch_probability": 0.4},
    {"label_smoothing": 0.0},
    {"loss": "balanced"},
    {"loss": "balanced", "mixup": 0.8},
    {"loss": "logit_adjusted", "logit_adjustment": 0.7},
    {"loss": "logit_adjusted", "cutmix": 1.0},
    {"loss": "proco", "proco_width": 16},
    {"loss": "proco", "proco_width": 16, "proco_views": 0, "proco_unbiased": True},
    {"sampler": "class_balanced"},
    {"views": 2},
    {"clip_gradient": 0.1},
    {"pooling": "cls"},
    {"augmentation": "none"},
    {"augmentation": "flip"},
    {"augmentation": "pad_crop_flip", "crop_padding": 2},
    {"augmentation": "random_resized_crop_flip", "crop_scale_min": 0.3, "crop_scale_max": 0.8},
    {"rand_augment": "m9-mstd0.5-inc1"},
    {"rand_augment": "7"},
    {"color_jitter": 0.4},
    {"color_jitter": 0.4, "hue_jitter": 0.2},
    {"random_erasing": 0.9},
    {"random_erasing": 0.9, "erasing_mode": "const"},
    {"seed": 4},
    {"loader_threads": 0},
]
FINETUNE: list[Options] = [{}, {"frozen_encoder": True}, {"layer_decay": 1.0}, {"mixup": 0.8, "cutmix": 1.0, "ema_decay": 0.9}]


def supervised_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for family in FAMILIES:
        for options in SUPERVISED:
            if "drop_path" not in options or family != "resnet":  # residual networks have none
                rows[_title(f"supervised/{family}", options)] = supervised(family, **options)
        for options in FINETUNE:
            rows[_title(f"finetune/{family}", options)] = finetune(family, **options)
    for options in SUPERVISED_ONCE:
        rows[_title("supervised/vit", options)] = supervised("vit", **options)
    for family in OTHERS:
        data = (lambda: labelled(height=12, width=20)) if family == "vit_rectangular" else None
        rows[f"supervised/{family}"] = supervised(family, data)
    rows["supervised/resnet/convolutions=direct"] = supervised("resnet", convolutions="direct")
    rows["supervised/vit/validated"] = supervised("vit", validate=True, validate_epochs=0.5, restore_best=True, early_stopping=2)
    rows["finetune/vit/pooling=cls"] = finetune("vit", pooling="cls")
    rows["supervised/resnet/loss=proco"] = supervised("resnet", loss="proco", proco_width=16)
    return rows


def masked(size: int, **shape: Any) -> mrp.Dataset:
    images = pictures(height=size, width=size, **shape)
    masks = (images[:, 0] // 86).astype(np.uint8)
    masks[:, 0] = 255
    return mrp.Dataset(images, masks=masks, layout="NCHW", classes=3)


def segmented(family: str, **options: Any) -> Row:
    """A segmenter trained from scratch; its maps at another size, and what they are worth."""

    def row(machine: Options) -> list[Any]:
        every = NETWORKS[family] | RUN | {"task": "segment", "pyramid_width": 8} | machine | options
        model, size = mrp.Model(every), NETWORKS[family]["image_size"]
        steps = _trained(model, masked(size), every, "finetune")
        held = masked(size + 7, count=3, first=20)
        values = [model.evaluate(held, metric, machine) for metric in ("miou", "pixel_accuracy", "loss")]
        return [*steps, weights(model), model.segment(held, machine), *values, model.confusion_matrix(held, machine)]

    return row


SEGMENT: list[Options] = [
    {},
    {"focal_gamma": 2, "dice_weight": 0.5},
    {"frozen_encoder": True},
    {"frozen_encoder": True, "segment_head": "linear"},
]


POINTS: Options = {
    "encoder": "point_micro",
    "groups": 6,
    "group_size": 8,
    "points": 40,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "decoder_depth": 1,
}
TURNED = {"point_rotation": "any", "point_jitter": 0.01}


def point_clouds() -> mrp.PointClouds:
    return mrp.PointClouds.generate(10, random_state=6, points=56)


def points(phase: Any, **options: Any) -> Row:
    """A point transformer trained from scratch, and what it gives for the clouds."""

    def row(machine: Options) -> list[Any]:
        every, data = POINTS | RUN | machine | options, point_clouds()
        model = mrp.Model(every)
        steps = _trained(model, data, every, phase)
        use = {"points": 40} | machine
        values = [model.encode(data, use), model.predict_proba(data, use) if model.classes else None]
        return [*steps, weights(model), *values]

    return row


def point_rows() -> dict[str, Row]:
    return {
        "points/pretrain": points("pretrain"),
        "points/pretrain/block": points("pretrain", mask_pattern="block", **TURNED),
        "points/finetune": points("finetune", classes=10),
        "points/shapes": lambda machine: [point_clouds().points(index) for index in range(10)],
    }


def instances(family: str, **options: Any) -> Row:
    """A network of instances trained from scratch, a third of the images unlabelled; what it finds at another size."""

    def row(machine: Options) -> list[Any]:
        every = NETWORKS[family] | RUN | {"task": "instances", "pyramid_width": 8} | machine | options
        model, size = mrp.Model(every), NETWORKS[family]["image_size"]
        scenes = mrp.Dataset.generate_scenes(24, random_state=4, image_size=max(size, 16), mask_kind="objects")
        masks = np.stack([scenes.mask(index) for index in range(24)])
        masks[::3] = 255
        steps = _trained(model, mrp.Dataset(scenes.images(), masks=masks, layout="NCHW", mask_kind="objects"), every, "finetune")
        held = mrp.Dataset.generate_scenes(3, random_state=5, image_size=40, mask_kind="objects")
        values = [model.evaluate(held, metric, machine) for metric in ("ap50", "ar_10", "ar_100", "recall", "false_positives")]
        found = model.instances(held, machine | {"score_threshold": 0, "most_instances": 9})
        return [*steps, weights(model), *values, *(part for each in found for part in each)]

    return row


def segment_rows() -> dict[str, Row]:
    rows = {_title(f"segment/{family}", options): segmented(family, **options) for family in FAMILIES for options in SEGMENT}
    rows["segment/resnet/pixel_weights"] = segmented("resnet", pixel_weights="1,2,0.5", augmentation="random_resized_crop_flip")
    rows["segment/resnet/random_crop"] = segmented("resnet", augmentation="random_crop_flip")  # its maps are made in windows
    rows["segment/resnet18_imagenet"] = segmented("resnet18_imagenet")
    for family in FAMILIES:
        rows[f"instances/{family}"] = instances(family, consistency=1)
    rows["instances/resnet/plain"] = instances("resnet", frozen_encoder=True, augmentation="random_resized_crop_flip")
    rows["segment/scenes"] = lambda machine: [
        (scenes := mrp.Dataset.generate_scenes(3, random_state=4, image_size=24)).images(),
        *(scenes.mask(index) for index in range(3)),
    ]
    return rows


OPTIMIZERS: list[tuple[str, Options]] = [
    ("adamw", {}),
    ("adamw", {"beta1": 0.8, "beta2": 0.9}),
    ("sgd", {}),
    ("sgd", {"nesterov": True, "momentum": 0.8}),
    ("lars", {"learning_rate": 0.5, "weight_decay": 0.1}),
    ("lars", {"learning_rate": 0.5, "trust_coefficient": 0.02, "momentum": 0.5}),
    ("lamb", {}),
]
SCHEDULES: list[Options] = [
    {"schedule": "constant"},
    {"schedule": "multistep", "milestones": 1, "decay_factor": 0.3},
    {"schedule": "cosine", "min_learning_rate": 0.001, "warmup_epochs": 1},
    {"warmup_epochs": "auto"},
    {"weight_decay": 0.3, "weight_decay_end": 0.6},
    {"clip_gradient": 0.05},
    {"accumulation_steps": 2},
    {"ema_decay": 0.9},
    {"learning_rate": "auto", "base_learning_rate": 0.3},
]


def optimizer_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name, options in OPTIMIZERS:
        rows[_title(f"optimizer/{name}", options)] = pretrain("vit", optimizer=name, **options)
    for name in ("adamw", "sgd", "lars", "lamb"):
        rows[f"optimizer/{name}/resnet"] = supervised("resnet", optimizer=name, weight_decay=0.2)
        for exempt in ("mae", "mmpretrain"):
            decay = {"optimizer": name, "weight_decay": 0.2, "decay_exempt": exempt}
            rows[f"optimizer/{name}/decay_exempt={exempt}"] = pretrain("vit", **decay)
        rows[f"optimizer/{name}/finetune,decay_exempt=mmpretrain"] = supervised("vit", **decay)
    for options in SCHEDULES:
        rows[_title("schedule", options)] = pretrain("vit", **options)
    return rows


def _positions_anew(**change: Any) -> Callable[[mrp.Model, Options], list[Any]]:
    """What loading does with a file of another size."""

    def what(model: mrp.Model, machine: Options) -> list[Any]:
        with tempfile.TemporaryDirectory(prefix="mrp-", dir=MEMORY) as folder:
            model.save(folder)
            return weights(mrp.Model.load(folder, **machine | change))

    return what


def _accuracy(model: mrp.Model, machine: Options) -> list[Any]:
    data = labelled(count=12, first=7)
    values = [model.evaluate(data, metric, machine) for metric in ("top1", "top5", "balanced_top1", "loss")]
    return [*values, model.confusion_matrix(data, machine)]


def _probe(method: Any, **options: Any) -> Callable[[mrp.Model, Options], list[Any]]:
    def what(model: mrp.Model, machine: Options) -> list[Any]:
        known, wanted = labelled(count=60, classes=5), labelled(count=300, classes=5, first=60)  # many, as a share says little
        return [model.probe(known, wanted, method, machine | options)]

    return what


TREE = ("a/b", "c/a", "a/c")


def tree() -> mrp.Dataset:
    return labelled().with_class_names(TREE)


def _at_level(readout: str) -> Row:
    """The answers of a classifier of finer classes."""

    def row(machine: Options) -> list[Any]:
        model = mrp.Model(FAMILIES["vit"] | RUN | machine)
        model.finetune(tree(), RUN | machine)
        level = machine | {"label_level": 1, "level_readout": readout}
        return [model.predict_proba(tree(), level), model.evaluate(tree(), "loss", level), model.confusion_matrix(tree(), level)]

    return row


def _clustered(machine: Options) -> list[Any]:
    found = labelled(count=24).cluster(mrp.Model(FAMILIES["vit"] | machine), 3, machine)
    return [found.class_names, found.labels]


def use_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for family, values in NETWORKS.items():
        rows[f"init/{family}"] = lambda machine, values=values: weights(mrp.Model(values | machine))
        rows[f"init/{family}/seed=1,classes=7"] = lambda machine, values=values: weights(mrp.Model(values | machine, seed=1, classes=7))
    rows["init/vit_micro"] = lambda machine: weights(mrp.Model(machine, encoder="vit_micro", patch_size=8, decoder_width=32))
    for family in FAMILIES:
        rows[f"predict/{family}"] = use(family, lambda m, on, f=family: [m.predict_proba(usual_data(f), on)], classifier=True)
        rows[f"encode/{family}"] = use(family, lambda m, on, f=family: [m.encode(usual_data(f), on)])
        rows[f"reconstruct/{family}"] = use(
            family, lambda m, on, f=family: [*m.reconstruct(usual_data(f), on), m.evaluate(usual_data(f), "reconstruction_loss", on)]
        )
        rows[f"encode/{family}/features=tokens,layer=1"] = use(
            family, lambda m, on, f=family: [m.encode(usual_data(f), on, features="tokens", layer=1)]
        )
    rows["encode/vit/features=cls"] = use("vit", lambda m, on: [m.encode(usual_data("vit"), on, features="cls")])
    rows["reconstruct/vit/mask given"] = use("vit", lambda m, on: [*m.reconstruct(usual_data("vit"), on, mask=_mask(np.arange(10)))])
    rows["reconstruct/vit/seed=9,mask_ratio=0.5"] = use("vit", lambda m, on: [*m.reconstruct(pictures(), on, seed=9, mask_ratio=0.5)])
    for readout in ("sum", "max"):
        rows[f"predict/vit/label_level=1,level_readout={readout}"] = _at_level(readout)
    rows["evaluate/vit"] = use("vit", _accuracy, classifier=True)
    for title, what in {
        "knn": _probe("knn", knn_k=5), "knn/knn_temperature=1": _probe("knn", knn_temperature=1.0),
        "linear": _probe("linear", probe_epochs=6),
        "linear/probe_views=2": _probe("linear", probe_epochs=4, probe_views=2, probe_learning_rate=1.0, probe_batch_size=8),
    }.items():  # fmt: skip
        rows[f"probe/{title}"] = use("vit", what)
    for style in ("hub", "timm", "transformers5", "transformers5_saved"):
        rows[f"save/names={style}"] = use("vit", lambda m, on, style=style: weights(m, names=style))
    for number in ("F16", "BF16"):
        rows[f"save/weights_type={number}"] = use("vit", lambda m, on, number=number: weights(m, weights_type=number))
    for change in (
        {"image_size": 24, "positions": "bicubic"}, {"image_size": 24, "positions": "recompute"},
        {"patch_size": 4, "image_size": 32, "patch_weights": "resample"}, {"channels": 5, "channel_weights": "repeat"},
        {"channels": 1, "channel_weights": "average"}, {"classes": 6, "classifier": "new", "seed": 2},
    ):  # fmt: skip
        rows[_title("load", change)] = use("vit", _positions_anew(**change))
    return rows


def data_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for type in ("uint16", "float32"):
        rows[f"data/{type}"] = pretrain("vit", lambda type=type: pictures(type=type))
    for channels in (1, 5):
        rows[f"data/channels={channels}"] = pretrain(
            "vit", lambda channels=channels: mrp.Dataset(pictures(channels=channels), layout="NCHW"), channels=channels
        )
        rows[f"data/maskfeat,channels={channels}"] = pretrain(
            "vit",
            lambda channels=channels: mrp.Dataset(pictures(channels=channels), layout="NCHW"),
            channels=channels,
            objective="maskfeat",
        )
    rows["data/gray/rand_augment=9"] = supervised("vit", lambda: labelled(channels=1), channels=1, rand_augment="9", color_jitter=0.4)
    rows["data/5 channels/mixed"] = supervised("vit", lambda: labelled(channels=5), channels=5, mixup=0.5, cutmix=1.0, random_erasing=0.5)
    rows["data/nhwc"] = pretrain("vit", lambda: mrp.Dataset(pictures().transpose(0, 2, 3, 1), layout="NHWC"))
    rows["data/not square"] = pretrain("vit", lambda: pictures(height=21, width=13))
    rows["data/not square/supervised"] = supervised("vit", lambda: labelled(height=21, width=13))
    rows["data/tree/label_level=1"] = supervised("vit", tree, label_level=1)
    rows["data/cluster"] = _clustered
    rows["data/subset"] = supervised("vit", lambda: labelled(count=30).subset(10, random_state=5))
    rows["data/mean and std given"] = pretrain("vit", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    rows["data/generated"] = supervised("vit", lambda: mrp.Dataset.generate(10, random_state=2, image_size=16, synthetic_classes=3))
    rows["data/generated/images"] = images_of(lambda: mrp.Dataset.generate(12, random_state=2, image_size=16, synthetic_classes=3))
    rows["data/generated/images from the 20th"] = images_of(
        lambda: mrp.Dataset.generate(6, image_size=16, synthetic_first_image=20, synthetic_single_view=0.9, channels=1)
    )
    rows["data/subset/images"] = images_of(lambda: labelled(count=30).subset(11, random_state=5))
    rows["data/resized/images"] = images_of(labelled, size=(9, 23))
    png, jpeg = ("rgb.png", "palette.png", "rgba.png", "interlaced.png"), ("colour.jpg", "progressive.jpg", "gray.jpg", "colour_444.jpg")
    for title, names in {"png": png, "jpeg": jpeg}.items():
        rows[f"data/folder/{title}/images"] = images_of(folder(*names), size=(15, 21))
        rows[f"data/folder/{title}"] = supervised("vit", folder(*names))
    rows["data/folder/gray"] = pretrain("vit", folder("gray.png", "gray.jpg", "rgb.png", repeat=2, channels=1), channels=1)
    rows["data/folder/16 bits"] = pretrain("vit", folder("rgb16.png", "gray16.png", repeat=3))
    rows["data/folder/not cached"] = pretrain("vit", folder(*png, cache_bytes=0))
    rows["data/folder/unreadable_images=skip"] = pretrain(
        "vit", folder("rgb.png", "palette.png", "truncated.png"), unreadable_images="skip"
    )
    return rows


def lab_rows() -> dict[str, Row]:
    rows: dict[str, Row] = {"lab/quick": lab(), "lab/study": lab_study}
    for options in (
        {"masks": "sampled"}, {"teacher": "ema"}, {"teacher": "fixed"}, {"step_rule": "plain"}, {"supervised_head": "free"},
        {"precision": "float64"}, {"pretrain_batch": 20, "train_batch": 16}, {"seeds": 2, "first_seed": 5}, {"q": 4, "sigma_0": 0.2},
    ):  # fmt: skip
        rows[_title("lab/quick", options)] = lab(**options)
    for kind in ("mixed", "multi_view", "single_view"):
        rows[f"lab/samples/{kind}"] = lab_samples(kind)
    return rows


# Rows that are one run in two ways: their hashes must be the same, whatever the table says.
def same_rows() -> tuple[dict[str, Row], dict[str, str]]:
    rows: dict[str, Row] = {}
    same: dict[str, str] = {f"supervised/{family}/recompute=True": f"supervised/{family}" for family in FAMILIES}
    same["supervised/vit/loader_threads=0"] = "supervised/vit"
    same |= {"data/nhwc": "pretrain/mae/vit", "optimizer/adamw": "pretrain/mae/vit"}
    for objective, family in (
        ("mae", "vit"), ("beit", "vit"), ("data2vec", "vit"), ("ijepa", "vit"), ("teacher_student", "vit"),
        ("spark", "resnet"), ("spark", "convnext"), ("data2vec", "resnet"), ("teacher_student", "convnext"),
    ):  # fmt: skip
        name = f"pretrain/{objective}/{family}"
        rows[f"resumed/{name}"] = resumed(family, objective=objective)
        same[f"resumed/{name}"] = name
    for family in FAMILIES:
        for options in ({"ema_decay": 0.9}, {"mixup": 0.8}) if family == "vit" else ({"ema_decay": 0.9},):
            name = _title(f"supervised/{family}", options)
            rows[f"resumed/{name}"] = resumed(family, "finetune", **options)
            same[f"resumed/{name}"] = name
    for name, family in (("pretrain/mae/vit", "vit"), ("pretrain/spark/resnet", "resnet")):
        rows[f"resumed in a folder/{name}"] = resumed_in_folder(family)
        same[f"resumed in a folder/{name}"] = name
    for objective, family in (("mae", "vit"), ("data2vec", "vit"), ("spark", "resnet"), ("spark", "convnext")):
        name = f"pretrain/{objective}/{family}"
        rows[f"{name}/recompute=True"] = pretrain(family, objective=objective, recompute=True)
        same[f"{name}/recompute=True"] = name
    return rows, same


RESUMED, SAME = same_rows()
ROWS: dict[str, Row] = {
    **pretrain_rows(), **supervised_rows(), **segment_rows(), **point_rows(), **optimizer_rows(), **use_rows(), **data_rows(),
    **lab_rows(), **RESUMED,
}  # fmt: skip

# ---- Comparison


@cache
def available() -> tuple[str, ...]:
    """The instruction sets that this processor and this build can run."""

    def runs(instructions: str) -> bool:
        try:
            mrp.Model(FAMILIES["vit"]).encode(pictures(count=1), instructions=instructions, threads=1)
        except mrp.UnsupportedError:
            return False
        return True

    return tuple(name for name in INSTRUCTIONS if runs(name))


def select(pattern: str = "*") -> list[str]:
    return sorted(name for name in ROWS if fnmatchcase(name, pattern))


def compute(instructions: str, names: Iterable[str], threads: int = 1, seconds: dict[str, float] | None = None) -> dict[str, str]:
    """The hashes of these rows."""
    found = {}
    for name in names:
        start = time.process_time()
        try:
            found[name] = digest(ROWS[name]({"instructions": instructions, "threads": threads}))
        except mrp.MrpError as error:
            found[name] = f"error: {error}"
        if seconds is not None:
            seconds[name] = time.process_time() - start
    return found


def recorded() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    return table


def contradictions(found: Mapping[str, str]) -> list[str]:
    """Rows that must be the same and are not, and rows that cannot be computed."""
    errors = [f"{name}: {value}" for name, value in found.items() if value.startswith("error")]
    pairs = [(one, two) for one, two in SAME.items() if one in found and two in found]
    return errors + [f"{one}: is not the same as {two}" for one, two in pairs if found[one] != found[two]]


def differences(instructions: str, found: Mapping[str, str], *, complete: bool = False) -> list[str]:
    """Rows that are not what the table has, one text each; with `complete` also those that only the table has."""
    known = recorded().get(instructions, {})
    changed = [f"{name}: {'changed' if name in known else 'not in the table'}" for name in found if found[name] != known.get(name)]
    gone = [f"{name}: only in the table" for name in known if complete and name not in found]
    return contradictions(found) + changed + gone


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the table instead of comparing with it")
    parser.add_argument("--isa", choices=INSTRUCTIONS, help="this instruction set only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="rows whose names match, as 'pretrain/*'")
    parser.add_argument("--list", action="store_true", help="print the rows' names")
    parser.add_argument("--times", action="store_true", help="print the slowest rows")
    arguments = parser.parse_args()
    names = select(arguments.only)
    if arguments.list:
        print("\n".join(names))
        return 0
    if not names:
        parser.error(f"no row matches {arguments.only!r}")
    if arguments.isa and arguments.isa not in available():
        parser.error(f"this processor has no {arguments.isa}: {', '.join(available())}")
    for instructions in (name for name in INSTRUCTIONS if name not in available()):
        print(f"{instructions}: not on this processor")
    table, failed = recorded(), False
    for instructions in (arguments.isa,) if arguments.isa else available():
        seconds: dict[str, float] = {}
        found = compute(instructions, names, arguments.threads, seconds)
        complete = arguments.only == "*"
        problems = differences(instructions, found, complete=complete)
        print(f"{instructions}: {len(found)} rows, {len(problems)} differ, {sum(seconds.values()):.1f} s")
        print("".join(f"  {problem}\n" for problem in problems), end="")
        if arguments.times:
            print("".join(f"  {seconds[name]:.2f} s {name}\n" for name in sorted(seconds, key=seconds.__getitem__)[-15:]), end="")
        broken = contradictions(found)
        failed = failed or bool(broken if arguments.record else problems)
        if arguments.record and not broken:
            table[instructions] = ({} if complete else table.get(instructions, {})) | found
    if arguments.record:
        TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    elif failed:
        print(ADVICE)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
