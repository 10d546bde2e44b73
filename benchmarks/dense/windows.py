"""Windows over a large image: memory, and how well they agree with the network run over all of the image at once.

    .venv/bin/python benchmarks/dense/windows.py [--side 512] [--large 3000 4000]

A small segmenter learns objects and ground on windows of 64 pixels of generated scenes. Its maps of `side` x `side` pixels by windows
are compared with those of the same weights on the whole image (a residual network takes images of any size): the share of equal pixels,
of all and of those within 4 pixels of a window's edge, for each overlap. Then an image of the size `--large` is predicted by windows in a
process of its own, which prints its peak of resident memory; exit status 1 where that is above 600 MB.
"""

import argparse
import resource
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import mrp
import numpy as np

SIDE = 64
OPTIONS = {
    "encoder": "resnet18", "width": 16, "stem": "imagenet", "image_size": SIDE, "pyramid_width": 32, "batch_size": 16, "epochs": 40,
    "learning_rate": 2e-3, "augmentation": "random_crop_flip", "threads": 2,
}  # fmt: skip


def edges(side: int, overlap: float) -> np.ndarray:
    """Whether a row (or column) is within 4 pixels of where a window begins or ends."""
    stride = round(SIDE * (1 - overlap))
    starts = {min(first, side - SIDE) for first in range(0, side, stride)}
    near = np.zeros(side, bool)
    for start in starts:
        for edge in (start, start + SIDE):
            if 0 < edge < side:
                near[max(edge - 4, 0) : edge + 4] = True
    return near


def scenes(count: int, first: int) -> mrp.Dataset:
    """Scenes with masks of their objects."""
    made = mrp.Dataset.generate_scenes(count, random_state=1, image_size=128, synthetic_first_image=first)
    return mrp.Dataset(made.images(), masks=np.stack([made.mask(index) > 0 for index in range(count)]))


def agreement(path: Path, side: int) -> None:
    rows = side // 128
    parts = scenes(rows * rows, 1_000).images().reshape(rows, rows, 3, 128, 128)
    scene = mrp.Dataset(parts.transpose(2, 0, 3, 1, 4).reshape(1, 3, side, side))
    whole = mrp.Model.load(path, image_size=side).segment(scene, map_mode="whole")[0]
    model = mrp.Model.load(path)
    print(f"{side} x {side}, windows of {SIDE}, against the whole image at once: equal pixels in percent")
    print("| overlap | windows a side | all | within 4 pixels of an edge |\n|---|---|---|---|")
    for overlap in (0.0, 0.25, 0.5, 0.75):
        same = model.segment(scene, map_mode="slide", window_overlap=overlap)[0] == whole
        near = edges(side, overlap)
        seams = near[:, None] | near[None, :]
        count = len(range(0, side - SIDE, max(1, round(SIDE * (1 - overlap))))) + 1
        print(f"| {overlap} | {count} | {100 * same.mean():.2f} | {100 * same[seams].mean():.2f} |")


def large(path: Path, height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    model, start = mrp.Model.load(path), time.monotonic()
    classes = model.segment(mrp.Dataset(image, layout="NHWC"), threads=2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    own = image.nbytes / 2**20 + classes.nbytes / 2**20
    print(f"{height} x {width}: {time.monotonic() - start:.1f} s, {peak:.0f} MB at the peak, of which image and map {own:.0f}")
    sys.exit(int(peak > 600))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--large", type=int, nargs=2, default=[3000, 4000])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "segmenter.safetensors")
        segmenter = mrp.Segmenter(random_state=0, progress=False, **OPTIONS).fit(scenes(200, 0))
        segmenter.save(path)
        print(f"trained: mIoU {100 * segmenter.score(scenes(40, 500)):.1f} by windows\n")
        agreement(path, args.side)
        print(flush=True)
        child = get_context("spawn").Process(target=large, args=(path, *args.large))
        child.start()
        child.join()
        return int(child.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
