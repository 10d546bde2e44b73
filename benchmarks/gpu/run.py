"""Everything that is measured on a GPU, in parts that run as programs of their own, and one table; see run.sh.

Results are lines of JSON in WORK/results.jsonl; a part that is there is not run again, one that failed is. Parts of a stage start together:
they compile at the same time and are timed one after the other (turns.py).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parity import CASES
from report import table
from workloads import WORKLOADS

HERE = Path(__file__).resolve().parent
SPEED = [("mae_vit_base_224", "medium"), ("mae_vit_tiny_32", "medium"), ("sup_resnet50_224", "medium"), ("mae_vit_base_224", "high")]
"""Networks and precisions, the most wanted first."""


@dataclass(frozen=True)
class Part:
    """One program: its name, as 'speed mae_vit_base_224 medium', its arguments, seconds that it may take."""

    name: str
    arguments: list[str]
    limit: float

    @property
    def kind(self) -> str:
        """What --parts chooses by."""
        return self.name.split()[0]


def stages(args: argparse.Namespace) -> list[list[Part]]:
    """All parts in the order in which they are worth having."""
    common = ["--device", args.device, *(["--tiny"] if args.tiny else [])]

    def ours(kind: str, network: str, precision: str, *more: str) -> Part:
        cache = str(args.cache / f"{network}-{precision}")
        return Part(f"{kind} {network} {precision}", ["speed.py", network, "--precision", precision, "--cache", cache, *common, *more], 200)

    def peer(network: str, precision: str, mode: str) -> Part:
        settings = ["--precision", precision, "--mode", mode]
        return Part(
            f"torch {network} {precision} {mode}", ["torch_peer.py", network, *settings, *common, "--seconds", str(args.seconds)], 200
        )

    seconds = ["--seconds", str(args.seconds)]
    precisions = {"mae_vit": ("highest", "high", "medium"), "sup_resnet50": ("highest", "medium")}
    parity = [
        Part(
            f"parity {case} {precision}", ["parity.py", case, "--precision", precision, "--cache", str(args.cache / "parity"), *common], 150
        )
        for case in CASES
        for precision in precisions.get(case, ("highest",))
    ]
    half = (len(parity) + 1) // 2  # at once; each compiles with several threads
    result = [parity[:half], parity[half:]]
    for network, precision in SPEED:
        pair = [ours("speed", network, precision, *seconds), peer(network, precision, "compile")]
        # The two of float32 together might not fit into the memory of one card.
        result += [pair] if precision == "medium" else [[part] for part in pair]
    result += [[ours("warm", network, precision, "--first-step")] for network, precision in SPEED]
    result += [[peer(network, precision, "eager")] for network, precision in SPEED if precision == "medium"]
    if args.train > 0:
        data = [] if args.data is None else ["--data", str(args.data)]
        command = ["train.py", "--precision", "medium", "--cache", str(args.cache / "train"), *common, *data]
        result.append([Part("train cifar10", [*command, *(f"--set={pair}" for pair in args.set)], 60 * args.train + 45)])
    if args.peers == "skip":
        result = [[part for part in stage if part.kind != "torch"] for stage in result]
    if args.tiny:  # on a CPU, with few cores
        result = [[replace(part, limit=3 * part.limit)] for stage in result for part in stage]
    wanted = [prefix.strip() for prefix in args.parts.split(",")] if args.parts else [""]
    return [[part for part in stage if any(part.name.startswith(prefix) for prefix in wanted)] for stage in result]


class Results:
    """results.jsonl: the last line of a part counts."""

    def __init__(self, work: Path) -> None:
        self.path = work / "results.jsonl"
        self.parts: dict[str, dict[str, Any]] = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            self.parts[json.loads(line)["part"]] = json.loads(line)

    def add(self, part: str, values: dict[str, Any]) -> None:
        """Keeps a result and says so."""
        self.parts[part] = {"part": part, **values}
        with self.path.open("a") as file:
            file.write(json.dumps(self.parts[part]) + "\n")
        shown = {key: value for key, value in values.items() if key not in ("losses", "cpu_losses", "options")}
        print(f"{part}: {json.dumps(shown)}", flush=True)

    def has(self, part: str) -> bool:
        """Whether it need not run."""
        return part in self.parts and "error" not in self.parts[part]


def run_stage(parts: list[Part], args: argparse.Namespace, results: Results, end: float) -> None:
    """Starts the missing parts of a stage together and waits until all have ended, by their limits at the latest."""
    logs = args.work / "logs"
    logs.mkdir(exist_ok=True)
    lock = args.work / "lock"
    running = []
    for part in parts:
        left = end - time.monotonic()
        if results.has(part.name) or left < 15:
            continue
        arguments = list(part.arguments)
        if part.kind == "train":
            arguments += ["--minutes", str(round(min(args.train, (left - 20) / 60), 2))]
        log = logs / part.name.replace(" ", "-")
        with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
            command = [sys.executable, str(HERE / arguments[0]), *arguments[1:]]
            environment = os.environ | {"MRP_GPU_LOCK": str(lock)}
            process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, start_new_session=True)
        running.append((part, process, log, time.monotonic(), min(time.monotonic() + part.limit, end)))
    while running:
        for run in list(running):
            part, process, log, begin, limit = run
            if process.poll() is None and time.monotonic() < limit:
                continue
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            running.remove(run)
            results.add(part.name, outcome(process.returncode, log) | {"wall": round(time.monotonic() - begin, 1)})
        time.sleep(0.05)


def outcome(status: int, log: Path) -> dict[str, Any]:
    """The line of JSON that a program printed last, or why there is none."""
    lines = log.with_suffix(".out").read_text(errors="replace").splitlines()
    if status == 0 and lines and lines[-1].startswith("{"):
        return json.loads(lines[-1])
    if status == -signal.SIGKILL:
        return {"error": "took longer than its limit, or was killed"}
    said = [line for line in log.with_suffix(".err").read_text(errors="replace").splitlines() if line.strip()]
    return {"error": (said[-1] if said else f"ended with status {status} and said nothing")[:500]}


def environment(args: argparse.Namespace) -> dict[str, Any]:
    """Card, driver, versions; what the library itself says about devices."""

    def said(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as problem:
            return str(problem)
        lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
        return "; ".join(lines if done.returncode == 0 else lines[-1:])

    def version(package: str) -> str:
        try:
            return f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            return f"no {package}"

    return {
        "gpu": said("nvidia-smi", "--query-gpu=name,memory.total,driver_version,clocks.sm,clocks.max.sm", "--format=csv,noheader"),
        "packages": ", ".join(version(name) for name in ("torch", "jax-cuda13-pjrt", "nvidia-cudnn-cu13", "numpy")),
        "cuda compiler": cuda_folder(),
        "libmrp": said(sys.executable, "-m", "mrp", "info", "--devices", *([args.device] if args.device != "cpu" else [])),
        "device": args.device,
        "tiny": args.tiny,
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
    }


def cuda_folder() -> str:
    """Where XLA finds ptxas and libdevice: beside the plug-in's package, or where CUDA is installed."""
    candidates = [Path(folder) / "nvidia/cu13" for folder in sys.path if folder]
    candidates += [Path("/usr/local/cuda"), *([Path(os.environ["CUDA_HOME"])] if "CUDA_HOME" in os.environ else [])]
    candidates += [Path(nvcc).resolve().parents[1] for nvcc in [shutil.which("nvcc")] if nvcc]
    found = [folder for folder in candidates if (folder / "nvvm/libdevice/libdevice.10.bc").exists() and (folder / "bin/ptxas").exists()]
    return str(found[0]) if found else f"none with nvvm/libdevice and bin/ptxas; ptxas on PATH: {shutil.which('ptxas')}"


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cpu (the library's own engine) or pjrt:/path/to/plugin.so")
    parser.add_argument("--parts", help="beginnings of parts' names, separated by commas: parity,speed mae,torch,warm,train (default: all)")
    parser.add_argument("--peers", choices=["run", "skip"], default="run")
    parser.add_argument("--tiny", action="store_true", help="small networks and batches, to try everything without a GPU")
    parser.add_argument("--train", type=float, default=0, metavar="MINUTES", help="of CIFAR-10, with --data")
    parser.add_argument("--data", type=Path, help="CIFAR-10: a folder, .tar.xz or .tar.zst (default: random pictures)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another option of the training")
    parser.add_argument("--seconds", type=float, default=4, help="of each timing")
    parser.add_argument("--limit", type=float, default=570, help="seconds for everything")
    parser.add_argument("--work", type=Path, default=Path("build/gpu"), help="results and logs")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/libmrp-gpu/executables"), help="compiled executables")
    parser.add_argument("--list", action="store_true", help="prints the parts and ends")
    args = parser.parse_args()
    end = time.monotonic() + args.limit
    if args.list:
        print("\n".join(" + ".join(part.name for part in stage) for stage in stages(args) if stage))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    args.cache.mkdir(parents=True, exist_ok=True)
    results = Results(args.work)
    results.add("environment", environment(args))
    for stage in stages(args):
        run_stage(stage, args, results, end)
    text = table(results.parts, {name: workload.sizes(args.tiny)[1] for name, workload in WORKLOADS.items()}, SPEED)
    (args.work / "table.md").write_text(text)
    if out := os.environ.get("OUT"):
        for name in ("results.jsonl", "table.md"):
            shutil.copy(args.work / name, out)
        with open(Path(out) / "logs.txt", "w") as file:
            for log in sorted((args.work / "logs").glob("*.err")):
                file.write(f"==== {log.stem}\n{log.read_text(errors='replace')[-20000:]}\n")
    print("\n" + text, flush=True)


if __name__ == "__main__":
    main()
