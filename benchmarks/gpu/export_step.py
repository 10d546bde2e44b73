"""Writes a training step as StableHLO text, for tools/check_cuda.sh: FILE, pretrain or finetune, then options as KEY=VALUE."""

from __future__ import annotations

import sys

import mrp
import numpy as np


def main() -> None:
    """One step; the images only give sizes."""
    path, phase, *pairs = sys.argv[1:]
    options = dict(pair.split("=", 1) for pair in pairs)
    side, batch, classes = (int(options.get(key, default)) for key, default in (("image_size", 32), ("batch_size", 1), ("classes", 10)))
    images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8).repeat(max(batch, classes), 0)
    dataset = mrp.Dataset(images, np.arange(len(images)) % classes)
    config = mrp.Config(**options, mean="0.5,0.5,0.5", std="0.25,0.25,0.25")
    mrp.Trainer(mrp.Model(config), dataset, config, phase=phase).export("stablehlo", path)


if __name__ == "__main__":
    main()
