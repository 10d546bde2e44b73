"""Point clouds: arrays, folders of files, and shapes that the library draws."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mrp import _mrp
from mrp._arrays import array_of
from mrp._config import handle_of
from mrp._dataset import Dataset, MaskFolder, label_numbers
from mrp._mrp import ArgumentError


class PointClouds(Dataset):
    """Point clouds in memory, with labels or without, for the encoders point_micro, point_mini and point_small.

        PointClouds(points)                   # (count, points, 3 or more): x, y, z, features
        PointClouds(points, labels)
        PointClouds.generate(1000)            # ten simple shapes

    Points are copied, as float32. labels: integers 0, 1, ..., one per cloud. In `shape` the values of a point are the channels and the
    points of a cloud the height (0 where files have different numbers of points); the width is 1.
    """

    def __init__(self, points: Any, labels: Any = None) -> None:
        array = array_of(points)
        if array.ndim != 3 or array.dtype.kind not in "fiu":
            raise ArgumentError(
                f"points have the shape {array.shape} and the type {array.dtype}, expected numbers (count, points, 3 or more)"
            )
        values = np.require(array, np.float32, requirements=("C_CONTIGUOUS", "ALIGNED"))
        self._open(_mrp.dataset_from_points(values, None if labels is None else label_numbers(labels)))

    @classmethod
    def _adopt(cls, handle: Any, *, named: bool = False, type: str = "str", masked: bool = False) -> "PointClouds":
        clouds = PointClouds.__new__(PointClouds)
        clouds._open(handle, named=named, type=type, masked=masked)
        return clouds

    @classmethod
    def generate(cls, count: int, *, random_state: int = 0, **options: Any) -> "PointClouds":
        """Generated surfaces of ten shapes, which are the classes, by turns.

        Options: points, of each cloud; synthetic_first_image, which makes a second set that does not overlap with the first.
        """
        return cls._adopt(_mrp.dataset_generate_points(handle_of(options), count, random_state), named=True)

    def points(self, index: int) -> npt.NDArray[np.float32]:
        """The points of a cloud (points, values), as they are in the array or the file."""
        position = range(len(self))[index]
        points = np.empty((self.image_size(position)[0], self.shape[1]), np.float32)
        _mrp.dataset_points(self._handle, position, points)
        return points

    def __repr__(self) -> str:
        count, channels, each, _ = self.shape
        points = f"{each} points" if each else "different numbers of points"
        classes = f", {self.classes} classes" if self.classes else ""
        return f"{type(self).__name__}({count} clouds of {points}, {channels} values each{classes})"


class PointFolder(PointClouds):
    """A folder of point clouds, read when they are needed.

        PointFolder("modelnet/train")         # <class>/<name>.off with labels, or <name>.ply without

    Files: .npy, .xyz, .txt, .pts, .csv, .ply and .off; meshes give points on their faces. Options: point_features, values to read beside
    x, y, z; face_samples.
    """

    SUFFIXES = (".npy", ".xyz", ".txt", ".pts", ".csv", ".ply", ".off")

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        self.path = os.fspath(path)
        self._open(_mrp.dataset_open_points(self.path, handle_of(options)), named=_has_folders(self.path))

    @classmethod
    def is_one(cls, path: str | os.PathLike[str]) -> bool:
        """Whether the first folder in a folder, or the folder without others in it, has files of points and none of images."""
        folder = Path(path)
        if not folder.is_dir() or MaskFolder.is_one(folder):
            return False
        inner = next((entry for entry in sorted(folder.iterdir()) if entry.is_dir()), folder)
        suffixes = {entry.suffix.lower() for entry in inner.iterdir() if entry.is_file()}
        return bool(suffixes & set(cls.SUFFIXES)) and not suffixes & {".jpg", ".jpeg", ".png"}

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"({self.path!r}, ", 1)


def _has_folders(path: str) -> bool:
    return os.path.isdir(path) and any(entry.is_dir() for entry in os.scandir(path))
