"""Reads the (function, status) pairs that include/mrp.h documents: the codes after `Errors:` and the notes after `Returns:`."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def documented(header=ROOT / "include/mrp.h"):
    pairs = set()
    for comment, prototype in re.findall(r"/\*\*\n(.*?)\*/\n(.*?;)", header.read_text(), re.S):
        name = re.search(r"\b(mrp_\w+)\(", prototype)[1]
        text = re.sub(r"\n \* {5}", " ", comment)  # fields continue on indented lines
        for field, body in re.findall(r"^ \* (Errors|Returns): (.*)$", text, re.M):
            wanted = r"MRP_ERR_\w+" if field == "Errors" else r"MRP_(?:CANCELLED|DONE)"
            if prototype.startswith("mrp_status"):
                pairs |= {(name, code) for code in re.findall(wanted, body)}
    return pairs
