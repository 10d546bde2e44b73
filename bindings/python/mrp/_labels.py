"""Labels: what kinds there are, and their names in the library, which keeps the type beside them in a model's file."""

import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from mrp._arrays import array_of
from mrp._mrp import ArgumentError

Labels = npt.NDArray[Any]

_KINDS = {"b": "numbers", "i": "numbers", "u": "numbers", "f": "numbers", "U": "texts", "S": "bytes", "M": "dates"}


def _kind_of(value: Any) -> str | None:
    """The kind of one label among objects of Python; None: no label."""
    if isinstance(value, bool | np.bool_ | int | float | np.integer | np.floating):
        return "numbers"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, datetime.date | np.datetime64):
        return "dates"
    return "texts" if isinstance(value, str) else None


def _array_of_objects(values: Any) -> Labels:
    """An array of one kind of a sequence of objects, which numpy would make equal first: 1 and 'a' to two texts."""
    kinds: dict[str, Any] = {}
    for value in values:
        kind = _kind_of(value)
        if kind is None:
            raise ArgumentError(f"y holds {value!r}, which is no label: labels are numbers, texts, bytes, flags or dates")
        kinds.setdefault(kind, value)
    if len(kinds) > 1:
        (first, a), (second, b) = list(kinds.items())[:2]
        raise ArgumentError(f"y mixes {first} and {second}, such as {a!r} and {b!r}: all labels must be of one type")
    return np.array(list(values), dtype="datetime64" if "dates" in kinds else None)


def label_array(y: Any) -> Labels:
    """Labels as a one-dimensional array of numbers, texts, bytes, flags or dates.

    ArgumentError, as scikit-learn's ValueError: other shapes, mixed types, missing values, NaN, numbers that are not whole.
    """
    if isinstance(y, list | tuple) and not any(isinstance(value, list | tuple | np.ndarray) for value in y):
        array = _array_of_objects(y)
    else:
        array = array_of(y)
    if array.ndim != 1:
        raise ArgumentError(f"labels have the shape {array.shape}, expected one per image")
    if array.dtype.kind in "OT":
        array = _array_of_objects(array.tolist())
    if array.dtype.kind not in _KINDS:
        raise ArgumentError(f"labels have the type {array.dtype}, expected numbers, texts, bytes, flags or dates")
    if array.dtype.kind == "M" and np.isnat(array).any():
        raise ArgumentError(f"y contains NaT, at place {int(np.isnat(array).argmax())}")
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise ArgumentError(f"y contains NaN, at place {int(np.isnan(array).argmax())}")
        whole = np.isfinite(array) & (np.floor(array) == array)
        if not whole.all():
            value = array[int(np.argmin(whole))]
            raise ArgumentError(f"y is continuous: it holds {value}; a classifier learns classes, regression is not offered")
    return array


def check_same_kind(y: Labels, classes: Labels) -> None:
    """ArgumentError where labels can never be equal to the classes, since they are of another kind."""
    mine, theirs = _KINDS[y.dtype.kind], _KINDS[classes.dtype.kind]
    if y.size and mine != theirs:
        raise ArgumentError(f"y holds {mine}, such as {y[0]!r}, the classes are {theirs}, such as {classes[0]!r}")


def places_in(classes: Labels, y: Labels) -> npt.NDArray[np.int64]:
    """The place of each label in the classes, which are sorted or not; -1 for one that is not among them."""
    check_same_kind(y, classes)
    order = np.argsort(classes, kind="stable")
    found = order[np.searchsorted(classes, y, sorter=order).clip(0, len(classes) - 1)]
    return np.where(classes[found] == y, found, -1)


def names_of(classes: Labels) -> list[str]:
    """The names of classes in the library: they tell them apart."""
    if classes.dtype.kind == "S":
        names = [value.decode("latin-1") for value in classes.tolist()]
    elif classes.dtype.kind == "M":
        names = np.datetime_as_string(classes).tolist()
    else:
        names = [str(value) for value in classes]
    if bad := [name for name in names if not name or "\n" in name or "\0" in name]:
        raise ArgumentError(f"the class {bad[0]!r} is empty or has a line break or a NUL")
    return names


def type_of(classes: Labels) -> str:
    """numpy's name of the labels' type, without a length."""
    return {"U": "str", "S": "bytes"}.get(classes.dtype.kind, classes.dtype.name)


def labels_of(names: list[str], kind: str | None) -> Labels:
    """The labels behind the names in a file. None, of older files: integers or flags where the names are their texts."""
    if kind is None:
        return _guessed(names)
    try:
        if kind == "bytes":
            return np.array([name.encode("latin-1") for name in names])
        if kind == "bool":
            return np.array([{"True": True, "False": False}[name] for name in names])
        if kind == "str":
            return np.asarray(names)
        return np.array([int(name) for name in names] if kind.startswith(("int", "uint")) else names).astype(kind)
    except (KeyError, TypeError, ValueError):
        return np.asarray(names)


def _guessed(names: list[str]) -> Labels:
    if names == ["False", "True"]:
        return np.array([False, True])
    try:
        numbers = [int(name) for name in names]
    except ValueError:
        return np.asarray(names)
    return np.asarray(numbers) if [str(number) for number in numbers] == names else np.asarray(names)


def at_level(classes: Labels, level: int) -> Labels:
    """The classes of a label tree at a level, each once: the first `level` parts of names such as 'cat/persian'; 0, or other labels than
    texts: as they are. The library refuses a level that is not there."""
    return np.array(list(dict.fromkeys(cut(classes, level).tolist()))) if level > 0 and classes.dtype.kind == "U" else classes


def cut(labels: Labels, level: int) -> Labels:
    """Each label at a level."""
    if level == 0 or labels.dtype.kind != "U":
        return labels
    names = {name: "/".join(name.split("/")[:level]) for name in set(labels.tolist())}
    return np.array([names[name] for name in labels.tolist()], dtype=str)


def known_above(labels: Labels, classes: Labels) -> Labels:
    """Labels where each that is no class is the nearest class above it, where there is one: 'cat' for 'cat/persian'."""
    if labels.dtype.kind != "U" or classes.dtype.kind != "U":
        return labels
    known, names = set(classes.tolist()), {}
    for name in set(labels.tolist()):
        parts = name.split("/")
        above = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        names[name] = next((path for path in above if path in known), name)
    return np.array([names[name] for name in labels.tolist()], dtype=str)
