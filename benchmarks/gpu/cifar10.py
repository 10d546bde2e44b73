"""CIFAR-10 as arrays, from a folder of JPEG files or an archive of one (train/<class>/*.jpg, test/<class>/*.jpg)."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

Images = tuple[np.ndarray, np.ndarray]
"""uint8 (count, 32, 32, 3) and labels int64 (count,)."""


def load(path: Path) -> tuple[Images, Images]:
    """Training and test images; classes are numbered by name. Every file is read once."""
    from PIL import Image

    parts: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "test": []}
    for name, data in _files(path):
        part, label, _ = name.split("/")[-3:]
        parts[part].append((label, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))))
    numbers = {label: number for number, label in enumerate(sorted({label for label, _ in parts["train"]}))}
    train, test = (
        (np.stack([image for _, image in parts[part]]), np.array([numbers[label] for label, _ in parts[part]]))
        for part in ("train", "test")
    )
    return train, test


def generated(count: int) -> tuple[Images, Images]:
    """Random pictures in place of CIFAR-10, to try the program."""
    rng = np.random.default_rng(0)
    train, test = ((rng.integers(0, 256, (n, 32, 32, 3), np.uint8), np.arange(n) % 10) for n in (count, count // 5))
    return train, test


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.glob("t*/*/*.jpg")):
            yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    with _archive(path) as archive:
        for member in archive:
            if member.name.endswith(".jpg"):
                content = archive.extractfile(member)
                assert content
                yield member.name, content.read()


@contextmanager
def _archive(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar file; Python before 3.14 reads .xz itself, .zst through the program zstd."""
    if path.suffix != ".zst":
        with tarfile.open(path, "r|*") as archive:
            yield archive
        return
    with (
        subprocess.Popen(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE) as unpacked,
        tarfile.open(fileobj=unpacked.stdout, mode="r|") as archive,
    ):
        yield archive
