"""Step time of a mixture of 8 experts, one for each token, in every second block, against the dense network of the same active width.

    .venv/bin/python benchmarks/experts/cost.py [--threads 1] [--rounds 7] [--steps 3]

Pretraining (MAE) and supervised training of ViT-tiny on generated images; steps of both networks alternate in one process, so that what
else the machine does meets both. Prints the median of the rounds' ratios; exit status 1 above 1.25.
"""

import argparse
import statistics
import sys
import time

import mrp
import numpy as np

MIXTURE = {"moe_experts": 8, "moe_routing": "token", "moe_blocks": 6, "moe_spacing": 2}
LIMIT = 1.25


def trainer(phase: str, data: mrp.Dataset, threads: int, **network: object) -> mrp.Trainer:
    options = {"encoder": "vit_tiny", "image_size": 32, "patch_size": 4, "threads": threads} | network
    return mrp.Trainer(mrp.Model(**options), data, phase=phase, batch_size=128 if phase == "pretrain" else 64, epochs=1000, **options)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    data, ok = mrp.Dataset.generate(512, random_state=0, image_size=32), True
    for phase in ("pretrain", "finetune"):
        runs = {"dense": trainer(phase, data, args.threads), "experts": trainer(phase, data, args.threads, **MIXTURE)}
        steps = {name: iter(run) for name, run in runs.items()}
        for step in steps.values():
            next(step)  # warm caches
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(args.rounds):
            for name, step in steps.items():
                start = time.process_time()
                for _ in range(args.steps):
                    next(step)
                times[name].append((time.process_time() - start) / args.steps)
        ratio = statistics.median(np.divide(times["experts"], times["dense"]).tolist())
        ok &= ratio <= LIMIT
        dense, experts = (1e3 * statistics.median(times[name]) for name in ("dense", "experts"))
        text = f"dense {dense:.0f} ms, 8 experts {experts:.0f} ms of the processor a step"
        print(f"{phase}: {text}; ratio {ratio:.3f} (<= {LIMIT}){'' if ratio <= LIMIT else ' FAILS'}", flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
