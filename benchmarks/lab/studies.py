#!/usr/bin/env python3
"""The laboratory's studies: sweeps of tau x theta, sigma_0, mu, q, noise, and k from 5 to 50; a CSV file, a figure and a table for each.

    .venv/bin/python benchmarks/lab/studies.py [STUDY...] [--output build/studies] [--seeds N]

Resumable: what a CSV file holds is not run again. The studies of one option run the default regime; the window of tau and theta a smaller
one. With k grow the samples (50 k labelled, 30 k unlabelled), the dimension (max(64, 2.56 k)) and the learning rates (a feature's share of
the mean gradient falls as 1 / k); all else stays.
"""

import argparse
import time
from pathlib import Path

import mrp
import numpy as np

# As the tables of docs/laboratory.md have it: supervised learning for 200 steps.
STEPS = {"supervised_steps": 200, "supervised_until": 0}
SMALL = {"m": 10, "sigma_0": 0.1, "N_pre": 150, "T": 110, "finetune": False, "supervised": False}
SWEEPS = {
    "window": (
        {"tau": [1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3], "theta": [0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8]},
        SMALL,
        "captured",
    ),
    "sigma_0": ({"sigma_0": [0.02, 0.03, 0.05, 0.07, 0.1, 0.15]}, {}, "sl_captured"),
    "mu": ({"mu": [0, 0.02, 0.05, 0.1, 0.2, 0.5]}, {}, "sl_captured"),
    "q": ({"q": [3, 4, 5, 6]}, {}, "mixed"),
    "noise": ({"noise": [0, 0.02, 0.04, 0.06, 0.08, 0.1]}, {}, "captured"),
}
CLASSES = (5, 10, 20, 35, 50)
COLUMNS = ["captured", "active", "mixed", "leaders_won", "lambda_max", "finetune_loss", "multi_view", "single_view"]
COLUMNS += ["sl_captured", "sl_train", "sl_single_view", "sl_missed_view"]


def mean(rows: list[dict], column: str) -> str:
    values = [row[column] for row in rows if row[column] is not None]
    return f"{np.mean(values):.3g}" if values else "-"


def show(table: mrp.lab.StudyTable) -> None:
    """Means over seeds."""
    print(" | ".join([*table.axes, "outcomes", *COLUMNS]))
    cells = dict.fromkeys(tuple(row[axis] for axis in table.axes) for row in table)
    for cell in cells:
        rows = [row for row in table if tuple(row[axis] for axis in table.axes) == cell]
        outcomes = ", ".join(sorted({row["outcome"] for row in rows}))
        print(" | ".join([*map(str, cell), outcomes, *(mean(rows, column) for column in COLUMNS)]))


def sweep(name: str, args: argparse.Namespace) -> None:
    axes, options, value = SWEEPS[name]
    seeds = args.seeds or (2 if name == "window" else 3)
    table = mrp.lab.study(axes, path=args.output / f"{name}.csv", seeds=seeds, frozen_probe=False, threads=args.threads, **STEPS, **options)
    table.plot(value).savefig(args.output / f"{name}.png", dpi=120)
    show(table)


def classes(args: argparse.Namespace) -> None:
    rows = mrp.lab.StudyTable()
    for k in CLASSES:
        sizes = {"d": max(64, round(2.56 * k)), "N": 50 * k, "N_pre": 30 * k}
        sizes |= {"eta": 0.2 * k, "eta_u": 0.2 * k, "eta_w": 0.005 * k, "eta_SL": 0.2 * k}
        path = args.output / f"k_{k}.csv"
        table = mrp.lab.study({"k": [k]}, path=path, seeds=args.seeds or 1, frozen_probe=False, threads=args.threads, **STEPS, **sizes)
        rows.extend(table)
        rows.axes, rows.active = table.axes, table.active
        show(table)
    rows.plot("captured").savefig(args.output / "k.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{', '.join(SWEEPS)} or k (default: all)")
    parser.add_argument("--output", type=Path, default=Path("build/studies"))
    parser.add_argument("--seeds", type=int, help="seeds per cell (default: 2 for the window, 1 for k, else 3)")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.studies or [*SWEEPS, "k"]:
        if name != "k" and name not in SWEEPS:
            parser.error(f"there is no study '{name}': {', '.join(SWEEPS)}, k")
        start = time.process_time()
        print(f"\n{name}")
        if name == "k":
            classes(args)
        else:
            sweep(name, args)
        print(f"{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
