#!/usr/bin/env bash
# Installs what building and testing need beyond Swift, git and make: Debian packages where something is missing, and Python
# packages in .venv. Does nothing, without the network, when it has run to its end before and its inputs are the same.
# Usage: setup.sh [system]    system: the Debian packages alone, which are all that the library needs
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/stamp
if [ -x .venv/bin/python ] && [ -f "$stamp" ] && [ "$stamp" -nt tools/requirements.txt ] && [ "$stamp" -nt tools/setup.sh ]; then
    exit 0
fi

if ! command -v swift >/dev/null; then
    echo "setup: swift is not on PATH: install the toolchain 6.3 or later from https://swift.org/install" >&2
    exit 1
fi

compiles() { # compiles CODE: whether the C compiler accepts it
    command -v cc >/dev/null && printf '%s\n' "$1" | cc -fsyntax-only -x c - 2>/dev/null
}
suitable() { # suitable PYTHON: 3.11 or later, makes virtual environments, has its C headers
    "$1" - 2>/dev/null <<'PYTHON'
import ensurepip, os, sys, sysconfig, venv
sys.exit(sys.version_info < (3, 11) or not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
PYTHON
}
choose_python() { # the first suitable interpreter: the user's, then the system's
    for candidate in "${PYTHON:-python3}" /usr/bin/python3; do
        if suitable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

packages=()
# g++ also brings libstdc++.a, which libmrp.so links statically.
{ compiles '#include <stdio.h>' && command -v g++ strip readelf >/dev/null; } || packages+=(gcc g++ libc6-dev binutils)
compiles $'#include <stdio.h>\n#include <jpeglib.h>' || packages+=(libjpeg-dev)
compiles '#include <png.h>' || packages+=(libpng-dev)
command -v pkg-config >/dev/null || packages+=(pkg-config)
[ -n "$(choose_python)" ] || packages+=(python3 python3-dev python3-venv)

if [ ${#packages[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "setup: missing, and there is no apt-get to install it: ${packages[*]} (Debian's names)" >&2
        exit 1
    fi
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    echo "setup: installing ${packages[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

[ "${1:-}" != system ] || exit 0

python=$(choose_python)
if [ -z "$python" ]; then
    echo "setup: no Python 3.11 or later with venv and C headers; name one with PYTHON=/path/to/python3 make" >&2
    exit 1
fi
if ! .venv/bin/python -c '' 2>/dev/null; then
    echo "setup: $python makes .venv"
    "$python" -m venv --clear .venv
fi
echo "setup: installing Python packages into .venv"
# Bytecode comes with the first import: most of these packages' modules are never imported.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r tools/requirements.txt
# `import mrp` finds the package of this tree.
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$PWD/bindings/python" >"$site/libmrp-development.pth"
touch "$stamp"
