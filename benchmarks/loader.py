"""What augmentation costs a training run: images per second with the whole augmentation against the same steps on images that need none.

    .venv/bin/python benchmarks/loader.py [--photos FOLDER] [--seconds 10] [--rounds 5] [--threads 2]

Two workloads: fine-tuning ViT-Tiny/4 on generated 32 x 32 images, and ViT-S/16 on photos of any size decoded from JPEG files (without
--photos: on generated 256 x 256 images). `plain` has the images at the network's size, one batch of them, without augmentation: synthetic
batches. `augmented` has a random resized or padded crop, flip, RandAugment m9-mstd0.5-inc1, random erasing, mixup and cutmix. The two
take turns, round by round, and the medians are compared, so that a machine whose speed wanders disturbs both alike.
"""

import argparse
import json
import statistics
import time

import mrp

AUGMENTATION = {"rand_augment": "m9-mstd0.5-inc1", "random_erasing": 0.25, "mixup": 0.8, "cutmix": 1.0}


class Run:
    """A training run that is measured in short pieces."""

    def __init__(self, dataset, options):
        self.trainer = mrp.Trainer(mrp.Model(options), dataset, options, phase="finetune")
        self.batch = options["batch_size"]
        self.trainer.step()  # the first batch is not ready yet

    def images_per_second(self, seconds):
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < seconds or steps == 0:
            self.trainer.step()
            steps += 1
        return steps * self.batch / (time.perf_counter() - start)


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
    source = mrp.ImageFolder(photos, cache_bytes=0) if photos else generate(256, image_size=256)
    yield (
        "ViT-S/16, 224 px",
        (generate(8, image_size=224), small | {"augmentation": "none"}),
        (source, small | {"augmentation": "random_resized_crop_flip", "crop_scale_min": 0.08} | AUGMENTATION),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", help="an image folder with at least two classes")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each piece [default 10]")
    parser.add_argument("--rounds", type=int, default=5, help="pieces of each kind [default 5]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results = []
    for name, plain, augmented in workloads(args.photos, args.threads):
        runs = {"plain": Run(*plain), "augmented": Run(*augmented)}
        speeds = {kind: [] for kind in runs}
        for _ in range(args.rounds):
            for kind, run in runs.items():
                speeds[kind].append(run.images_per_second(args.seconds))
        medians = {kind: statistics.median(values) for kind, values in speeds.items()}
        loss = 1 - medians["augmented"] / medians["plain"]
        results.append({"workload": name, **medians, "slower_by": loss})
        if not args.json:
            print(
                f"{name}: {medians['plain']:.1f} images/s on synthetic batches, {medians['augmented']:.1f} augmented: {100 * loss:+.1f} %"
            )
    if args.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
