"""Training steps of libmrp per second on a device, seconds to the first step, device memory: prints a line of JSON.

    python3 benchmarks/gpu/speed.py mae_vit_base_224 --precision medium --device cuda

Images are random bytes in memory, as many as an epoch of a few steps needs, not augmented: what is measured is the device, and what the
library does for it (order, masks, upload). The steps run without waiting for one another where the library does not wait.
"""

from __future__ import annotations

import argparse
import statistics
import time

import mrp
import numpy as np
from ours import answer, device_arguments, device_bytes, device_options
from turns import alone, compiling
from workloads import WORKLOADS


def steps_per_second(trainer: mrp.Trainer, seconds: float) -> tuple[float, float]:
    """Steps a second: the median over five stretches, and the slowest to fastest ratio."""
    for _ in range(3):
        trainer.step()
    start = time.perf_counter()
    for _ in range(5):
        trainer.step()
    each = max(2, round(seconds / 5 / ((time.perf_counter() - start) / 5)))
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(each):
            trainer.step()
        rates.append(each / (time.perf_counter() - start))
    return statistics.median(rates), min(rates) / max(rates)


def main() -> None:
    """One workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    device_arguments(parser)
    parser.add_argument("--first-step", action="store_true", help="only the time to the first step, for instance with a cache that is full")
    parser.add_argument("--seconds", type=float, default=5, help="of steps that are timed")
    parser.add_argument("--loader-threads", type=int, default=6)
    args = parser.parse_args()
    workload = WORKLOADS[args.workload]
    image, batch, count = workload.sizes(args.tiny)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, image, image, 3), np.uint8)
    dataset = mrp.Dataset(images, np.arange(count) % 10)
    config = mrp.Config(**workload.config(args.tiny), **device_options(args), loader_threads=args.loader_threads)
    model = mrp.Model(config)
    with compiling():
        start = time.perf_counter()
        trainer = mrp.Trainer(model, dataset, config, phase=workload.phase)
        trainer.step()
        first_loss = trainer.progress.loss
        first = time.perf_counter() - start
        trainer.step()
    result = {"first_step_seconds": round(first, 2), "first_loss": first_loss, "batch": batch}
    if not args.first_step:
        with alone() as undisturbed:
            rate, spread = steps_per_second(trainer, args.seconds)
            result |= {"images_per_second": round(rate * batch, 1), "step_ms": round(1000 / rate, 3), "spread": round(spread, 3)}
            result |= {"alone": undisturbed, "device_bytes": device_bytes(), "loss": trainer.progress.loss}
            result |= {"peak_bytes": None if args.device == "cpu" else mrp.devices(args.device)["devices"][0]["peak_bytes"]}
    answer(**result)


if __name__ == "__main__":
    main()
