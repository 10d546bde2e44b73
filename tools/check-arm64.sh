#!/usr/bin/env bash
# Compiles the kernels for arm64 with NEON and, with --run, runs C tests of the kernels in QEMU (minutes).
# Needs: libc6-dev-arm64-cross; for running also libgcc-12-dev-arm64-cross and qemu-user-static (Debian packages), installed or, with
# ARM64_ROOT=FOLDER, unpacked there (apt-get download; dpkg -x).
# Usage: check-arm64.sh [--run [NAME...]]    names of tests, default: memory random gemm
set -euo pipefail
cd "$(dirname "$0")/.."

clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
system=${ARM64_ROOT:-}/usr
root=$system/aarch64-linux-gnu
PATH=$PATH:$system/bin
out=build/arm64
flags=(--target=aarch64-linux-gnu -isystem "$root/include" -std=gnu11 -O2 -Wall -Wextra -Wno-unused-function -Werror
    -fno-math-errno -ffp-contract=fast)
if [ ! -d "$root/include" ]; then
    echo "arm64: not checked, as there are no headers in $root/include (apt-get install libc6-dev-arm64-cross)"
    exit 77
fi
mkdir -p "$out"
objects=()
for source in Sources/CMRPKernels/*.c; do
    object=$out/$(basename "$source" .c).o
    "$clang" "${flags[@]}" -ISources/CMRPKernels/include -c "$source" -o "$object"
    objects+=("$object")
done
echo "arm64: ${#objects[@]} files compile"

[ "${1:-}" = --run ] || exit 0
shift
gcc=$(find "$system/lib/gcc-cross/aarch64-linux-gnu" -maxdepth 1 -mindepth 1 2>/dev/null | sort -V | tail -1)
if [ -z "$gcc" ] || ! command -v qemu-aarch64-static >/dev/null; then
    echo "arm64: cannot run (apt-get install libgcc-12-dev-arm64-cross qemu-user-static)"
    exit 77
fi
[ $# -gt 0 ] || set -- memory random gemm
for name in "$@"; do
    "$clang" "${flags[@]}" -ISources/CMRPKernels/include -ITests/c -c "Tests/c/test_$name.c" -o "$out/test_$name.o"
    "$(dirname "$clang")/ld.lld" -static -L"$root/lib" -L"$gcc" "$root/lib/crt1.o" "$root/lib/crti.o" "$out/test_$name.o" \
        "${objects[@]}" -lm --start-group -lc -lgcc -lgcc_eh --end-group "$root/lib/crtn.o" -o "$out/test_$name"
    qemu-aarch64-static "$out/test_$name"
done
