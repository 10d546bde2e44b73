"""Times libmrp against PyTorch, alternating between the two on the same core, and prints medians, ratio and peak memory.

    benchmarks/peers/setup.sh
    python3 benchmarks/compare.py mae_vit_tiny_32 mae_vit_base_224 --ours "build/benchmarks/step" --output build/compare.json

Both sides are programs that speak the line protocol of benchmarks/peers/README.md; they run one at a time, pinned, with the same
number of threads, in turns (ours first, then the peer, next round the other way round), so that a machine that slows down slows
both. Needs Linux and Python 3.11, nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
PEER = "build/peers/bin/python benchmarks/peers/torch_step.py"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Side:
    """One program under test, started and waiting for its next line."""

    def __init__(self, command: list[str], cores: set[int]) -> None:
        threads = {name: str(len(cores)) for name in THREAD_VARIABLES}
        self.command = command
        # taskset, not a function run in the child: the program and all its threads are pinned from their first instruction.
        pinned = ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]
        self.process = subprocess.Popen(
            pinned, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | threads
        )
        self.about = self.read()
        self.start_bytes = self.peak_bytes()

    def read(self) -> dict[str, Any]:
        """The program's next line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{shlex.join(self.command)}: ended with status {self.process.wait()} before it answered")
        return json.loads(line)

    def run(self, steps: int) -> float:
        """Runs steps; seconds per step."""
        assert self.process.stdin
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self.read()["seconds"] / steps

    def peak_bytes(self) -> int:
        """The process's peak resident memory so far, as the kernel counts it."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise SystemExit("no VmHWM in /proc: this program needs Linux")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait()


def processor() -> dict[str, Any]:
    """What the figures were measured on."""
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d"),
    }


def describe(side: Side, seconds: list[float]) -> dict[str, Any]:
    """One side's figures."""
    median = statistics.median(seconds)
    return {
        **side.about,
        "command": shlex.join(side.command),
        "seconds_per_step": seconds,
        "median_seconds": median,
        "best_seconds": min(seconds),
        "images_per_second": side.about["batch"] / median,
        "start_rss_bytes": side.start_bytes,
        "peak_rss_bytes": side.peak_bytes(),
    }


def compare(workload: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Alternates the two sides on one workload."""
    cores = {int(core) for core in arguments.cores.split(",")}
    flags = ["--threads", str(len(cores))]
    flags += ["--batch", str(arguments.batch)] if arguments.batch else []
    flags += ["--inference"] if arguments.inference else []
    ours_command = [*shlex.split(arguments.ours), workload, *flags]
    peer_command = [*shlex.split(arguments.peer), workload, *flags]
    with Side(ours_command, cores) as ours, Side(peer_command, cores) as peer:
        sides = (ours, peer)
        if ours.about["batch"] != peer.about["batch"]:
            raise SystemExit(f"{workload}: batch {ours.about['batch']} against {peer.about['batch']}")
        counts = []
        for side in sides:
            side.run(1)  # first step: pages, caches, lazy set-up
            counts.append(max(1, round(arguments.seconds / side.run(1))))
        times: tuple[list[float], list[float]] = ([], [])
        for turn in range(arguments.rounds):
            for index in (0, 1) if turn % 2 == 0 else (1, 0):
                times[index].append(sides[index].run(counts[index]))
            time.sleep(arguments.rest)
        ratios = [theirs / own for own, theirs in zip(*times, strict=True)]
        return {
            "workload": workload,
            "mode": "inference" if arguments.inference else "train",
            "threads": len(cores),
            "ours": describe(ours, times[0]),
            "peer": describe(peer, times[1]),
            "speedup": statistics.median(ratios),
            "speedup_range": [min(ratios), max(ratios)],
            "memory_ratio": ours.peak_bytes() / peer.peak_bytes(),
        }


def show(result: dict[str, Any]) -> None:
    """The figures as text."""
    print(f"{result['workload']}, {result['mode']}, batch {result['ours']['batch']}, {result['threads']} thread(s)")
    for side in (result["ours"], result["peer"]):
        print(
            f"  {side['name']:<28} median {side['median_seconds'] * 1e3:9.1f} ms  best {side['best_seconds'] * 1e3:9.1f} ms"
            f"  {side['images_per_second']:9.2f} images/s  peak {side['peak_rss_bytes'] / 2**20:7.0f} MiB"
        )
    low, high = result["speedup_range"]
    print(f"  speed {result['speedup']:.2f} times the peer's (pairs {low:.2f} to {high:.2f}), memory {result['memory_ratio']:.2f} of it")


def main() -> None:
    """Compares each workload, prints as it goes, writes JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="+", metavar="WORKLOAD", help="for example mae_vit_tiny_32")
    parser.add_argument("--ours", required=True, help="command of our program, without its arguments")
    parser.add_argument(
        "--peer", default=PEER, help="command of the peer (default: PyTorch eager; append --optimizer fused for its fused AdamW)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="times each side runs")
    parser.add_argument("--seconds", type=float, default=3.0, help="about how long one run takes")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds of rest between rounds, for machines with a CPU credit")
    parser.add_argument("--cores", default="0", help="comma-separated; as many threads as cores")
    parser.add_argument("--batch", type=int, help="images per step (default: the workload's)")
    parser.add_argument("--inference", action="store_true", help="the classifier's forward pass instead of a training step")
    parser.add_argument("--output", type=Path, help="where to write everything as JSON")
    arguments = parser.parse_args()
    machine = processor()
    print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.2f}")
    results = []
    for workload in arguments.workloads:
        results.append(compare(workload, arguments))
        show(results[-1])
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
