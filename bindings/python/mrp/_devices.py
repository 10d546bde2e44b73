"""Accelerators that a plug-in sees."""

import json
from typing import Any

from mrp import _mrp

PROBED = ("cuda", "rocm")
"""Names that are looked up unasked; loading TPU's plug-in where there is no TPU hangs."""


def devices(name: str = "cuda") -> dict[str, Any]:
    """What a device's plug-in sees: its path `plugin`, `platform`, `version`, and `devices`, each with `kind`, `bytes_in_use`,
    `peak_bytes` and `bytes_limit` (None where the plug-in does not say).

        mrp.devices("cuda")["devices"][0]["kind"]       # or rocm, tpu, pjrt:/path/to/plugin.so

    UnsupportedError: there is no plug-in, or it sees no device. The plug-in is loaded and stays loaded.
    """
    description: dict[str, Any] = json.loads(_mrp.device_describe(name))
    return description
