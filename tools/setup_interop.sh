#!/bin/sh
# Makes build/peers with the packages whose files the library exchanges: those of the benchmarks (PyTorch, timm, transformers), and onnx and
# onnxruntime. Prints its interpreter. PEERS names another interpreter that has them already.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${PEERS:-}" ]; then
    echo "$PEERS"
    exit 0
fi
stamp=build/peers/interop.stamp
if [ ! "$stamp" -nt Tests/interop/requirements.txt ] || [ ! "$stamp" -nt benchmarks/peers/requirements.txt ]; then
    benchmarks/peers/setup.sh >&2
    build/peers/bin/python -m pip install --quiet --disable-pip-version-check -r Tests/interop/requirements.txt >&2
    touch "$stamp"
fi
echo build/peers/bin/python
