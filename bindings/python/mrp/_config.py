"""Options by name. The library holds the one table of them; nothing here repeats it."""

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from mrp import _mrp


class Option(NamedTuple):
    """One option of the library, as its table has it."""

    key: str
    type: str
    default: str
    limits: str
    per_phase: bool
    section: str
    summary: str


class Preset(NamedTuple):
    """A named set of option values."""

    name: str
    summary: str
    values: dict[str, str]


@cache
def _table() -> tuple[dict[str, Option], dict[str, Preset]]:
    table = json.loads(_mrp.config_describe())
    return (
        {entry["key"]: Option(**{name: entry[name] for name in Option._fields}) for entry in table["options"]},
        {entry["name"]: Preset(entry["name"], entry["summary"], entry["values"]) for entry in table["presets"]},
    )


def options() -> dict[str, Option]:
    """Every option of the library by its key."""
    return dict(_table()[0])


def presets() -> dict[str, Preset]:
    """Every preset of the library by its name."""
    return dict(_table()[1])


def option_of(key: str) -> Option | None:
    """The option behind a key, which may be prefixed by a phase ('pretrain.epochs'); None for an unknown one."""
    phase, dot, name = key.rpartition(".")
    option = _table()[0].get(name)
    return option if option and (not dot or (option.per_phase and phase in ("pretrain", "finetune"))) else None


def check_keys(keys: Mapping[str, Any]) -> None:
    """Raises the library's error for the first unknown key: it names the nearest one."""
    for key in keys:
        if option_of(key) is None:
            _mrp.config_set(_mrp.config_create(None), key, "")


def text_of(key: str, value: Any) -> str:
    """The text of an option's value: a flag, a number, a string, a path, or a sequence of numbers."""
    if isinstance(value, np.ndarray | list | tuple):
        return ",".join(text_of(key, item) for item in value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{key} has the type {type(value).__name__}, expected a flag, a number, a text or a sequence of numbers")


def value_of(key: str, text: str) -> Any:
    """The value behind an option's text."""
    option = option_of(key)
    kind = option.type if option else ""
    if text == "auto":
        return text
    if kind == "integer":
        return int(text)
    if kind == "number":
        return float(text)
    if kind == "flag":
        return text in ("true", "1", "yes")
    if kind == "numbers":
        return tuple(float(part) for part in text.split(",")) if text else ()
    return text


class Config(Mapping[str, Any]):
    """Options and their values: those of a preset, or the defaults, and what is given by keyword.

        config = mrp.Config("mae_vit_tiny_32", epochs=20, threads=2)
        config["mask_ratio"] = 0.6
        config["finetune.epochs"] = 50      # options of training can be set for one phase

    An unknown option or a value outside its limits raises ArgumentError.
    """

    def __init__(self, preset: str | None = None, **options: Any) -> None:
        self._handle = _mrp.config_create(preset)
        self._set: dict[str, None] = dict.fromkeys(_table()[1][preset].values) if preset else {}
        self.update(options)

    def update(self, options: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Sets several options."""
        for key, value in {**(options or {}), **more}.items():
            self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        _mrp.config_set(self._handle, key, text_of(key, value))
        self._set[key] = None

    def __getitem__(self, key: str) -> Any:
        if option_of(key) is None:
            raise KeyError(key)
        return value_of(key, _mrp.config_get(self._handle, key))

    def __iter__(self) -> Iterator[str]:
        return iter(_table()[0])

    def __len__(self) -> int:
        return len(_table()[0])

    def is_set(self, *keys: str) -> bool:
        """Whether one of these options was set, by the preset or by hand."""
        return any(key in self._set for key in keys)

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{key}={self[key]!r}' for key in self._set)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, ({key: self[key] for key in self._set},)


def _restore(values: dict[str, Any]) -> Config:
    config = Config()
    config.update(values)
    return config


def handle_of(options: Config | Mapping[str, Any] | None, more: Mapping[str, Any] | None = None) -> Any:
    """The handle for options given as a Config, as a mapping, or not at all; `more` goes on top."""
    if isinstance(options, Config) and not more:
        return options._handle
    config = Config()
    if isinstance(options, Config):
        config.update({key: options[key] for key in options._set})
    else:
        config.update(options)
    config.update(more)
    return config._handle


def documented(*sections: str) -> str:
    """The options of these sections of the table, as text for a docstring."""
    lines = []
    for option in _table()[0].values():
        if option.section in sections:
            kind = option.limits if option.type in ("choice", "flag", "numbers") else f"{option.type}, {option.limits}"
            lines.append(f"    {option.key} : {kind}; default {option.default}\n        {option.summary}")
    return "\n".join(lines)
