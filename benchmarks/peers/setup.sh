#!/bin/sh
# Makes build/peers, a virtual environment with the peers of requirements.txt (about 6 GB: PyTorch's wheel from PyPI brings
# its GPU libraries). PIP_INDEX_URL and the like are pip's own.
set -eu
cd "$(dirname "$0")/../.."
if [ ! -x build/peers/bin/python ]; then
    python3 -m venv build/peers
fi
build/peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
build/peers/bin/python -c 'import torch; print("build/peers: torch", torch.__version__)'
