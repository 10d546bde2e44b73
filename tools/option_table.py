#!/usr/bin/env python3
"""The library's option table, read through mrp_config_describe: docs/options.md, and the list in include/mrp.h, are made of it.

option_table.py --library .build/release/libmrp.so --output docs/options.md
"""

import argparse
import ctypes
import json
import sys
import textwrap
from pathlib import Path


def read(library):
    """{"options": [...], "presets": [...]}"""
    describe = ctypes.CDLL(str(Path(library).resolve())).mrp_config_describe
    describe.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64)]
    needed = ctypes.c_int64()
    describe(None, 0, ctypes.byref(needed))
    buffer = ctypes.create_string_buffer(needed.value)
    if describe(buffer, needed, None) != 0:
        sys.exit(f"option_table.py: mrp_config_describe of {library} fails")
    return json.loads(buffer.value)


def sections(table):
    """Section by section in the table's order: (name, its options)."""
    names = list(dict.fromkeys(option["section"] for option in table["options"]))
    return [(name, [option for option in table["options"] if option["section"] == name]) for name in names]


def header_lines(table, width):
    """The options for a comment of the header: key, default, limits."""
    lines = ["Key, default and limits of every option; * = can be set for one phase:"]
    column = max(len(option["key"]) for option in table["options"]) + 2
    for name, options in sections(table):
        lines += ["", f"{name}:"]
        for option in options:
            head = f"  {option['key']}{'*' if option['per_phase'] else ''}".ljust(column + 2) + option["default"].ljust(12)
            lines += textwrap.wrap(option["limits"], width, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
    return lines


def markdown(table):
    lines = [
        "# Options",
        "",
        "Made by `make header` from the library's table (`Sources/MRPTraining/OptionTable.swift` lists the declarations). In C",
        '`mrp_config_set(config, "mask_ratio", "0.75")`, in Python `mask_ratio=0.75`, on the command line `--mask-ratio 0.75`.',
        "Options of training marked \\* can be set for one phase: `pretrain.epochs`, `finetune.epochs`.",
    ]
    for name, options in sections(table):
        lines += ["", f"## {name.capitalize()}", "", "| option | type | default | limits | meaning |", "|---|---|---|---|---|"]
        for option in options:
            cells = [option[name].replace("|", "\\|").replace("*", "\\*") for name in ("type", "default", "limits", "summary")]
            mark = " \\*" if option["per_phase"] else ""
            lines.append(f"| `{option['key']}`{mark} | {' | '.join(cells)} |")
    lines += ["", "## Presets", "", "| preset | meaning | values |", "|---|---|---|"]
    for preset in table["presets"]:
        values = ", ".join(f"{key} {value}" for key, value in preset["values"].items())
        lines.append(f"| `{preset['name']}` | {preset['summary']} | {values} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    text = markdown(read(arguments.library))
    if not arguments.output.exists() or arguments.output.read_text() != text:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
