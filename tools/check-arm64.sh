#!/usr/bin/env bash
# Compiles the C parts for arm64, kernels with NEON, and with --run runs their tests in QEMU (minutes).
# Needs what tools/setup_arm64.sh unpacks.
# Usage: check-arm64.sh [--run [NAME...]]    names of Tests/c/test_NAME.c, default: all
set -euo pipefail
cd "$(dirname "$0")/.."

clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
out=build/arm64
system=$out/root/usr
cross=$system/aarch64-linux-gnu
libraries=$system/lib/aarch64-linux-gnu
flags=(--target=aarch64-linux-gnu -isystem "$cross/include" -isystem "$system/include" -isystem "$system/include/aarch64-linux-gnu"
    -std=gnu11 -O2 -Wall -Wextra -Wno-unused-function -Werror -fno-math-errno
    -ISources/CMRPKernels/include -ISources/CMRPImage/include -ISources/CMRPPoints/include -ITests/c)
if [ ! -e "$out/root/complete" ]; then
    echo "arm64: not checked, as there are no headers for it (tools/setup_arm64.sh fetches them)"
    exit 77
fi
mkdir -p "$out/objects"
objects=()
compile() { # compile FOLDER CONTRACTION, the same as in Package.swift
    local source object
    for source in Sources/"$1"/*.c; do
        object=$out/objects/$1-$(basename "$source" .c).o
        "$clang" "${flags[@]}" -ffp-contract="$2" -c "$source" -o "$object"
        objects+=("$object")
    done
}
compile CMRPKernels fast
compile CMRPImage off
compile CMRPPoints off
echo "arm64: ${#objects[@]} files compile"

[ "${1:-}" = --run ] || exit 0
shift
gcc=$(find "$system/lib/gcc-cross/aarch64-linux-gnu" -maxdepth 1 -mindepth 1 | sort -V | tail -1)
if [ $# -eq 0 ]; then
    for source in Tests/c/test_*.c; do
        name=$(basename "$source" .c)
        set -- "$@" "${name#test_}"
    done
fi
for name in "$@"; do
    "$clang" "${flags[@]}" -c "Tests/c/test_$name.c" -o "$out/test_$name.o"
    "$(dirname "$clang")/ld.lld" -static -L"$cross/lib" -L"$gcc" -L"$libraries" "$cross/lib/crt1.o" "$cross/lib/crti.o" "$out/test_$name.o" \
        "${objects[@]}" -ljpeg -lpng16 -lz -lm --start-group -lc -lgcc -lgcc_eh --end-group "$cross/lib/crtn.o" -o "$out/test_$name"
    "$system/bin/qemu-aarch64-static" "$out/test_$name"
done
