"""What augmentation costs a training run: images per second with the whole augmentation against the same steps on images that need none.

    .venv/bin/python benchmarks/loader.py [--photos FOLDER] [--seconds 10] [--rounds 5] [--threads 2]

Two workloads: fine-tuning ViT-Tiny/4 on generated 32 x 32 images, and ViT-S/16 on photos of any size decoded from JPEG files (without
--photos: on generated 256 x 256 images). `plain` has the images at the network's size, one batch of them, without augmentation: synthetic
batches. `augmented` has a random resized or padded crop, flip, RandAugment m9-mstd0.5-inc1, random erasing, mixup and cutmix. The two
take turns, round by round, and the medians are compared, so that a machine whose speed wanders disturbs both alike; processor time per
image says the same where other programs run too.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import mrp

AUGMENTATION = {"rand_augment": "m9-mstd0.5-inc1", "random_erasing": 0.25, "mixup": 0.8, "cutmix": 1.0}


class Run:
    """A training run that is measured in short pieces."""

    def __init__(self, dataset, options):
        self.trainer = mrp.Trainer(mrp.Model(options), dataset, options, phase="finetune")
        self.batch = options["batch_size"]
        self.trainer.step()  # the first batch is not ready yet

    def measure(self, seconds):
        """Images per second, and processor milliseconds per image of all threads together."""
        start, used, steps = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds or steps == 0:
            self.trainer.step()
            steps += 1
        images = steps * self.batch
        return images / (time.perf_counter() - start), 1000 * (time.process_time() - used) / images


def as_classes(photos, folder):
    """The photos of any folder as links in two classes, since fine-tuning needs labels."""
    for index, path in enumerate(sorted(Path(photos).rglob("*.[jJpP]*[gG]"))):
        target = Path(folder) / str(index % 2)
        target.mkdir(exist_ok=True)
        (target / f"{index:05d}.jpg").symlink_to(path.resolve())
    return folder


def workloads(photos, threads):
    shared = {"threads": threads, "loader_threads": threads, "epochs": 1_000_000, "synthetic_classes": 10}
    tiny = {"encoder": "vit_tiny", "image_size": 32, "patch_size": 4, "batch_size": 64} | shared
    small = {"encoder": "vit_small", "image_size": 224, "patch_size": 16, "batch_size": 8} | shared
    generate = mrp.Dataset.generate
    yield (
        "ViT-Tiny/4, 32 px",
        (generate(64, image_size=32), tiny | {"augmentation": "none"}),
        (generate(4096, image_size=32), tiny | {"augmentation": "pad_crop_flip"} | AUGMENTATION),
    )
    source = mrp.ImageFolder(photos, channels=3, cache_bytes=0) if photos else generate(256, image_size=256)
    yield (
        "ViT-S/16, 224 px",
        (generate(8, image_size=224), small | {"augmentation": "none"}),
        (source, small | {"augmentation": "random_resized_crop_flip", "crop_scale_min": 0.08} | AUGMENTATION),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", help="a folder with photographs")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each piece [default 10]")
    parser.add_argument("--rounds", type=int, default=5, help="pieces of each kind [default 5]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results = []
    links = tempfile.TemporaryDirectory()
    for name, plain, augmented in workloads(args.photos and as_classes(args.photos, links.name), args.threads):
        runs = {"plain": Run(*plain), "augmented": Run(*augmented)}
        found = {kind: [] for kind in runs}
        for _ in range(args.rounds):
            for kind, run in runs.items():
                found[kind].append(run.measure(args.seconds))
        (speed, work), (augmented_speed, augmented_work) = (
            [statistics.median(values) for values in zip(*found[kind], strict=True)] for kind in ("plain", "augmented")
        )
        result = {
            "workload": name,
            "images_per_second": speed,
            "augmented_images_per_second": augmented_speed,
            "slower_by": 1 - augmented_speed / speed,
            "cpu_ms_per_image": work,
            "augmented_cpu_ms_per_image": augmented_work,
            "more_work": augmented_work / work - 1,
        }
        results.append(result)
        if not args.json:
            print(
                f"{name}: {speed:.1f} images/s plain, {augmented_speed:.1f} augmented: {100 * result['slower_by']:.1f} % slower; "
                f"processor time {work:.2f} and {augmented_work:.2f} ms per image: {100 * result['more_work']:.1f} % more"
            )
    if args.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
