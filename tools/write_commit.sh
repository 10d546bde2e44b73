#!/usr/bin/env bash
# Writes the commit that is being built into Sources/CMRPTypes/commit.h (mrp_build_info prints it), when it has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
file=Sources/CMRPTypes/commit.h
commit=$(git describe --always --dirty --abbrev=12 --match '' 2>/dev/null || echo unknown)
line="#define MRP_COMMIT \"$commit\""
if [ ! -f "$file" ]; then # an object compiled without the file does not know that it depends on it
    rm -f "${1:-.build}"/*/CMRPTypes.build/last_error.c.o "${1:-.build}"/*/*/CMRPTypes.build/last_error.c.o
fi
[ "$(cat "$file" 2>/dev/null)" = "$line" ] || echo "$line" >"$file"
