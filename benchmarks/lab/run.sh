#!/usr/bin/env bash
# One training step of the paper's network, ours and PyTorch's in turn, one thread pinned. PYTHON needs torch.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
clang=${CLANG:-$(dirname "$(readlink -f "$(command -v swift)")")/clang}
mkdir -p build/benchmarks
kernels=Sources/CMRPKernels
"$clang" -O3 -std=gnu99 -fno-math-errno -ffp-contract=fast -I$kernels -I$kernels/include benchmarks/lab/patch_network_step.c \
    $kernels/*.c -o build/benchmarks/patch_network_step -lm -lpthread
for _ in 1 2 3; do
    taskset -c 0 build/benchmarks/patch_network_step
    for masks in averaged sampled; do
        for teacher in scaled separate; do
            taskset -c 0 "$python" benchmarks/lab/torch_theory.py --masks $masks --teacher $teacher
        done
    done
done
