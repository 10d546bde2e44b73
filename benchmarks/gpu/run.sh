#!/bin/sh
# Parity and speed on a GPU, and CIFAR-10, in at most ten minutes; run it in the root of the repository on the machine with the GPU.
#
#     make wheel                                                     # on any machine; dist/ travels along
#     benchmarks/gpu/run.sh                                          # everything but the training
#     benchmarks/gpu/run.sh --parts train --train 8 --data cifar10.tar.xz
#     benchmarks/gpu/run.sh --device pjrt:$(tools/setup_devices.sh | head -1) --tiny --peers skip    # tried on a CPU
#
# It needs python3 with numpy and the plug-in's package (jax-cuda13-pjrt), PyTorch for the peers and Pillow for the training; it fetches
# nothing. Without a wheel in dist/ it takes the library that python3 imports. Results are in build/gpu (--work) and, where OUT names a
# folder, there too; the same command goes on where it was stopped. --list names the parts; benchmarks/gpu/run.py explains the rest.
# An archive of JPEG files for --data: zstd -dc cifar10-jpeg.tar.zst | xz -T2 -9 > cifar10.tar.xz
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
scratch=${MRP_GPU_SCRATCH:-/tmp/libmrp-gpu}
mkdir -p "$scratch"
set -- --cache "$scratch/executables" "$@"
wheel=$(ls -t dist/libmrp-*.whl 2>/dev/null | head -1)
if [ -n "$wheel" ]; then
    rm -rf "$scratch/site"
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$scratch/site" "$wheel"
    export PYTHONPATH="$scratch/site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=2 TORCHINDUCTOR_CACHE_DIR="$scratch/inductor"
exec "$python" benchmarks/gpu/run.py "$@"
