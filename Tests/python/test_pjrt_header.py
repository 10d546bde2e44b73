"""The structs of PJRT that we declare ourselves against the header that a package ships."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "Sources/CMRPDevice/include/pjrt.h"
THEIRS = ROOT / "build/devices/xla_plugins/xla_cpu_pjrt/include/pjrt_c_api.h"

pytestmark = pytest.mark.skipif(not THEIRS.exists(), reason="no package with the header of PJRT: tools/setup_devices.sh installs it")


def fields() -> list[tuple[str, str]]:
    """(struct, field) of our header."""
    text = re.sub(r"/\*.*?\*/", "", OURS.read_text(), flags=re.DOTALL)
    found = []
    for name, body in re.findall(r"typedef struct (PJRT_\w+) \{\n(.*?)\n\} \1;", text, flags=re.DOTALL):
        flat = re.sub(
            r"(?:union|struct) \{(.*?)\}(\s*\w*);",
            lambda inner: inner[1] if not inner[2].strip() else f"int{inner[2]};",
            body,
            flags=re.DOTALL,
        )
        flat = flat.replace("PJRT_HEAD;", "size_t struct_size; void *extension_start;")
        for part in flat.split(";"):
            call = re.search(r"PJRT_(?:CALL|SKIP)\((\w+)\)|\(\*(\w+)\)", part)
            plain = re.search(r"(\w+)\s*$", part)
            if call or plain:
                found.append((name, (call[1] or call[2]) if call else plain[1]))
    return found


def offsets(header: Path, folder: Path, of: list[tuple[str, str]]) -> list[str]:
    lines = "\n".join(f'printf("%s.%s %zu\\n", "{name}", "{field}", offsetof({name}, {field}));' for name, field in of)
    source = folder / f"{header.stem}.c"
    source.write_text(f'#include <stddef.h>\n#include <stdio.h>\n#include "{header}"\nint main(void) {{\n{lines}\nreturn 0;\n}}\n')
    subprocess.run(["cc", "-std=c11", "-w", source, "-o", folder / header.stem], check=True)
    return subprocess.run([folder / header.stem], capture_output=True, text=True, check=True).stdout.splitlines()


def test_fields_lie_where_the_plugins_have_them(tmp_path: Path) -> None:
    known = fields()
    assert len(known) > 250
    assert len({name for name, _ in known}) >= 30
    assert offsets(OURS, tmp_path, known) == offsets(THEIRS, tmp_path, known)
