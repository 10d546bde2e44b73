"""Two programs on one card: both compile at the same time, but what is timed runs alone.

The file that MRP_GPU_LOCK names is locked: shared while a program compiles, which may try kernels on the card; by one program alone
while it is timed. Without the variable nothing is locked.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 150.0
"""Seconds that a program waits to be alone; then it goes on beside the other and says so."""


@contextmanager
def compiling() -> Iterator[None]:
    """The time in which others may compile too, but nothing is timed."""
    with _locked(fcntl.LOCK_SH):
        yield


@contextmanager
def alone() -> Iterator[bool]:
    """The time in which the card is this program's; gives whether it is."""
    with _locked(fcntl.LOCK_EX) as got:
        yield got


@contextmanager
def _locked(kind: int) -> Iterator[bool]:
    path = os.environ.get("MRP_GPU_LOCK")
    if not path:
        yield True
        return
    with open(path, "a") as file:
        end, got = time.monotonic() + PATIENCE, False
        while not got and time.monotonic() < end:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                got = True
            except BlockingIOError:
                time.sleep(0.02)
        yield got
