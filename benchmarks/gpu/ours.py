"""What the programs here share: options of the device, device memory, one line of JSON as the answer."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any


def device_arguments(parser: argparse.ArgumentParser) -> None:
    """--device, --precision, --cache, --tiny."""
    parser.add_argument("--device", default="cuda", help="cpu, cuda, rocm or pjrt:/path/to/plugin.so")
    parser.add_argument("--precision", choices=["highest", "high", "medium"], default="medium")
    parser.add_argument("--cache", type=Path, help="folder of compiled executables")
    parser.add_argument("--tiny", action="store_true", help="small networks and batches, to try the program without a GPU")


def device_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of libmrp; none on its own CPU engine."""
    if args.device == "cpu":
        return {}
    cache = {} if args.cache is None else {"device_cache": str(args.cache)}
    return {"device": args.device, "matmul_precision": args.precision} | cache


def device_bytes() -> int | None:
    """Memory of the GPU that this process holds, by nvidia-smi; None where it does not say."""
    command = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    used = {int(pid): memory.strip() for pid, memory in (line.split(",") for line in lines if "," in line)}
    memory = used.get(os.getpid(), "")
    return int(memory) * 2**20 if memory.isdigit() else None


def answer(**values: Any) -> None:
    """The result, the last line of standard output."""
    print(json.dumps(values), flush=True)
