#!/usr/bin/env python3
"""Writes the table of the laboratory's options into docs/laboratory.md, between its two markers, from the library's own table.

.venv/bin/python tools/write_lab_options.py
"""

from pathlib import Path

import mrp

PAGE = Path(__file__).resolve().parents[1] / "docs" / "laboratory.md"
BEGIN, END = "<!-- options: written by tools/write_lab_options.py -->", "<!-- end of options -->"


def rows() -> str:
    lines = ["| option | symbol | default | limits | meaning |", "|---|---|---|---|---|"]
    for option in mrp.lab.options().values():
        symbol = f"`{option.symbol}`" if option.symbol else ""
        lines.append(f"| `{option.key}` | {symbol} | {option.default} | {option.limits} | {option.summary} |")
    return "\n".join(lines)


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{rows()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
