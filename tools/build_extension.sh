#!/bin/sh
# Builds the Python extension in place, so that PYTHONPATH=bindings/python finds a complete package.
#
#   tools/build_extension.sh [PYTHON]      the interpreter whose headers are used (default: .venv/bin/python, else python3)
#
# MRP_LIBRARY and MRP_INCLUDE name another libmrp and another folder with mrp.h; CC names another compiler.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-}
if [ -z "$python" ]; then
    python=python3
    if [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
fi
library=${MRP_LIBRARY:-$root/build/lib/libmrp.so.0}
include=${MRP_INCLUDE:-$root/include}
package=$root/bindings/python/mrp
if [ ! -f "$library" ]; then
    echo "build_extension.sh: $library does not exist: run 'make build' first" >&2
    exit 1
fi
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ ! -f "$headers/Python.h" ]; then
    echo "build_extension.sh: $headers/Python.h does not exist: install python3-dev" >&2
    exit 1
fi

# New files are moved into place, never written over: a running interpreter may have the old ones mapped.
cp -f "$library" "$package/libmrp.so.0.new"
mv -f "$package/libmrp.so.0.new" "$package/libmrp.so.0"
# The linker resolves the library's own dependencies at load time. libc is named for tools that tell wheels' platforms.
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Werror -fvisibility=hidden -fPIC -shared -DPy_LIMITED_API=0x030B0000 \
    -I"$headers" -I"$include" "$root/bindings/python/_mrp.c" -o "$package/_mrp.abi3.so.new" \
    "$package/libmrp.so.0" -Wl,--allow-shlib-undefined -Wl,--enable-new-dtags "-Wl,-rpath,\$ORIGIN" -Wl,--no-as-needed -lc -lpthread
mv -f "$package/_mrp.abi3.so.new" "$package/_mrp.abi3.so"
