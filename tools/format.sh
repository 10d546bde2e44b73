#!/usr/bin/env bash
# Formats every source that git knows or does not ignore; include/mrp.h is generated and left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
files() { git ls-files -z --cached --others --exclude-standard -- "$@"; }
files '*.swift' | xargs -0 swift format --in-place --parallel
files '*.c' '*.h' '*.inc' ':!include/mrp.h' | xargs -0 .venv/bin/clang-format -i
.venv/bin/ruff check --quiet --fix-only .
.venv/bin/ruff format --quiet .
