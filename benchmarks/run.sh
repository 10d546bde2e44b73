#!/usr/bin/env bash
# The programs behind the speed and memory figures of README, in one go: about five minutes on an idle machine, after the peers
# (PyTorch, some gigabytes) are installed into build/peers on the first run.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p build/bench
cc -std=c99 -O2 -Wall -Wextra -Ibuild/include benchmarks/step.c -o build/bench/step -Lbuild/lib -lmrp "-Wl,-rpath,$PWD/build/lib"
clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
"$clang" -std=gnu11 -O3 -fno-math-errno -ffp-contract=fast -ISources/CMRPKernels/include benchmarks/gemm.c Sources/CMRPKernels/*.c \
    -lm -lpthread -o build/bench/gemm

[ -x build/peers/bin/python ] || benchmarks/peers/setup.sh
peer="build/peers/bin/python benchmarks/peers/torch_step.py"
for workload in mae_vit_tiny_32 mae_vit_base_224 sup_vit_tiny_32; do
    python3 benchmarks/compare.py "$workload" --ours build/bench/step --peer "$peer" --output "build/bench/$workload.json"
done
taskset -c 0 build/bench/gemm
