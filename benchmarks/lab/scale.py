#!/usr/bin/env python3
"""The laboratory at scale: k = 50 classes, d = 256, P = 64, 1,000 kernels, 20,000 samples for pretraining and 20,000 with labels. The
samples (1.3 GB each) do not fit into `data_bytes`: they are generated in blocks, batch by batch, whenever they are needed.

    .venv/bin/python benchmarks/lab/scale.py [--output build/scale.json] [OPTION=VALUE...]
"""

import argparse
import resource
import time
from pathlib import Path

import mrp

SIZES = {"k": 50, "d": 256, "P": 64, "s": 10, "m": 20, "N_pre": 20_000, "N": 20_000, "N_test": 1000}
# Stochastic descent: a step looks at one batch. Rates are the default regime's times k / 10: a feature's share of the gradient falls.
STEPS = {"pretrain_batch": 500, "train_batch": 500, "T": 130, "finetune_steps": 60, "supervised_steps": 120, "supervised_until": 0}
STEPS |= {"eta": 10, "eta_u": 10, "eta_w": 0.25, "eta_SL": 10}
RUN = {"seeds": 1, "controls": False, "frozen_probe": False, "data_bytes": 1 << 28, "probe_every": 10}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE")
    parser.add_argument("--output", type=Path, default=Path("build/scale.json"))
    args = parser.parse_args()
    given = dict(option.split("=", 1) for option in args.options)
    start, processor = time.monotonic(), time.process_time()
    report = mrp.lab.run(**SIZES | STEPS | RUN | given)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    report.to_json(args.output)
    print(report)
    result = report.data["seeds"][0]
    for part in ("pretraining", "finetuning", "supervised"):
        series = [(point["step"], point["features"]["captured"], point["loss"]) for point in result[part]["series"]]
        print(part, "(step, features captured, loss):", series)
    print(f"library's memory at most   {report.data['provenance']['bytes'] / 2**20:.0f} MiB")
    print(f"process's memory at most   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")
    print(f"time {time.monotonic() - start:.0f} s, of processors {time.process_time() - processor:.0f} s")


if __name__ == "__main__":
    main()
