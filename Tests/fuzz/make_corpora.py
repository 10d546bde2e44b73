#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets into Tests/fuzz/corpus: small valid files of every kind, as the library writes them.

    .venv/bin/python Tests/fuzz/make_corpora.py

`tools/fuzz.sh --merge` then replaces them by the smallest set with the same coverage.
"""

import json
import shutil
import struct
import tempfile
from pathlib import Path

import mrp
import numpy as np

CORPUS = Path(__file__).parent / "corpus"
TINY = {"width": 8, "depth": 1, "heads": 2, "mlp_ratio": 1, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
NETWORKS = {
    "vit": {"image_size": 8, "patch_size": 4, **TINY},
    "resnet": {"encoder": "resnet18", "width": 4, "image_size": 16, "stem": "cifar"},
    "convnext": {"encoder": "convnextv2_atto", "width": 4, "image_size": 16, "stem": "cifar"},
}
RUN = {"threads": 1, "loader_threads": 0, "batch_size": 2, "epochs": 2}


def put(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def header_of(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return content[8 : 8 + length]


def models(folder, images, labels):
    for name, options in NETWORKS.items():
        model = mrp.Model(**options)
        if name == "vit":
            model.pretrain(images, **RUN)
        model.save(folder / f"{name}.safetensors")
        header = header_of(folder / f"{name}.safetensors")
        put("model", f"{name}-header", b"\x01" + header)
        put("json", name, json.loads(header)["__metadata__"]["libmrp.config"])
    model = mrp.Model(**NETWORKS["vit"])
    model.finetune(mrp.Dataset(images, labels).with_class_names(["ant", "bee"]), **RUN)
    for names in ("hub", "timm", "transformers5"):
        path = folder / f"{names}.safetensors"
        model.save(path, names=names)
        put("model", f"{names}-file", b"\x00" + path.read_bytes())
        put("model", f"{names}-other-shape", b"\x03" + header_of(path))
    put("json", "classifier", json.loads(header_of(folder / "hub.safetensors"))["__metadata__"]["libmrp.config"])
    put("json", "timm", json.dumps({"architecture": "vit_tiny_patch16_224", "global_pool": "token", "pretrained_cfg": {"mean": [0.5] * 3}}))
    transformers = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    put("json", "transformers", json.dumps(transformers | {"image_size": 8, "patch_size": 4, "num_channels": 3, "id2label": {"0": "a"}}))


def runs(folder, images):
    trainer = mrp.Trainer(mrp.Model(**NETWORKS["vit"]), images, **TINY, **RUN, ema_decay=0.5, rollbacks=3)
    for step in range(3):
        trainer.step()
        trainer.save(folder / "run.ckpt")
        metadata = json.loads(header_of(folder / "run.ckpt"))["__metadata__"]
        put("checkpoint", f"step{step}", metadata["libmrp.state"] + "\0" + metadata["libmrp.config"])
    options = {**TINY, **RUN, "run_folder": folder / "run", "tensorboard": True}
    mrp.Model(**NETWORKS["vit"]).pretrain(images, **options)
    log = (folder / "run/pretrain.csv").read_bytes()
    put("run_log", "csv", b"\x00" + log)
    put("run_log", "crlf", b"\x00" + log.replace(b"\n", b"\r\n"))
    (events,) = (folder / "run/pretrain").iterdir()
    put("run_log", "events", b"\x01" + events.read_bytes())


def texts(folder):
    for option in mrp.options().values():
        values = {option.default, *option.limits.split(", ")} if option.type == "choice" else {option.default, "0", "1", "-1", "1e9"}
        put("options", option.key, "".join(f"{option.key}={value}\n" for value in sorted(values)))
    put("labels", "names", "ant\nbee\n")
    put("labels", "unicode", "\u00e9\ne\u0301\n\U0001f41d")
    quick = {"classes": 2, "dimension": 4, "patches": 4, "kernels_per_class": 1, "presence": 1, "seeds": 1, "threads": 1}
    quick |= dict.fromkeys(("pretrain_samples", "train_samples", "test_samples"), 1)
    options = quick | {"pretrain_steps": 0, "finetune": False, "supervised": False}
    mrp.lab.study({"tau": [1.1, 1.2]}, "quick", path=folder / "study.csv", **options)
    rows = (folder / "study.csv").read_bytes()
    put("study", "file", b"\x00" + rows)
    put("study", "part", b"\x00" + rows[: len(rows) * 2 // 3])
    put("study", "axes", b"\x01tau=1.1,1.2;theta=0.5")


def main():
    shutil.rmtree(CORPUS, ignore_errors=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        models(Path(name), images, np.array([0, 1, 0, 1]))
        runs(Path(name), images)
        texts(Path(name))
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    print(f"{len(files)} inputs, {sum(path.stat().st_size for path in files):,} bytes in {CORPUS}")


if __name__ == "__main__":
    main()
