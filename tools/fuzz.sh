#!/usr/bin/env bash
# Fuzz targets (Tests/fuzz/fuzz_*.c) under libFuzzer with ASan and UBSan. Each begins with its corpus in Tests/fuzz/corpus; inputs that it
# finds stay in build/fuzz/NAME, crashes in build/fuzz/NAME-*.
# Usage: fuzz.sh [--seconds S] [--merge | --release] [NAME...]     names without fuzz_; default: all, 20 s each
#   image needs `make build` only, points nothing; the others a library with sanitizer and coverage, which takes minutes to build (.build/fuzz).
#   --merge writes the smallest corpus with the same coverage back into Tests/fuzz/corpus instead.
#   --release takes the library of `make build`, without sanitizers and blind to what it covers: every input of the corpus, and mutations.
# The last line of each target: executions, edges covered, seconds, processor.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=20 merge=0 release=0
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=$2 && shift 2 ;;
    --merge) merge=1 && shift ;;
    --release) release=1 && shift ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || set -- image points model json checkpoint options study run_log labels

toolchain=$(dirname "$(readlink -f "$(command -v swift)")")
clang=$toolchain/clang
out=build/fuzz
scratch=.build/fuzz
flags=(-std=gnu11 -g -O1 -Wall -Wextra -Werror -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
    -fuse-ld=lld)
processor=$(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -1)
mkdir -p "$out"

build_image() { # the decoder with sanitizers, on the kernels of `make build`
    local kernels=() source
    for source in Sources/CMRPKernels/*.c; do kernels+=("${SCRATCH:-.build}/release/CMRPKernels.build/$(basename "$source").o"); done
    "$clang" "${flags[@]}" -fno-math-errno -ISources/CMRPImage/include -ISources/CMRPKernels/include Tests/fuzz/fuzz_image.c \
        Sources/CMRPImage/*.c "${kernels[@]}" -ljpeg -lpng16 -lm -lpthread -o "$out/fuzz_image"
}

build_points() { # the readers of point files with sanitizers, and what they need of the kernels
    "$clang" "${flags[@]}" -fno-math-errno -ISources/CMRPPoints/include -ISources/CMRPImage/include -ISources/CMRPKernels/include \
        Tests/fuzz/fuzz_points.c Sources/CMRPPoints/*.c Sources/CMRPKernels/{memory,random,interrupt}.c -lm -lpthread -o "$out/fuzz_points"
}

library_built=0
build_over_library() {
    if [ $release -eq 1 ]; then
        "$clang" -std=gnu11 -g -O1 -Wall -Wextra -Werror -fuse-ld=lld -fsanitize=fuzzer -D_GNU_SOURCE -Iinclude "Tests/fuzz/fuzz_$1.c" \
            -Lbuild/lib -lmrp -Wl,-rpath,"$PWD/build/lib" -o "$out/fuzz_$1"
        return
    fi
    if [ $library_built -eq 0 ]; then
        swift build --scratch-path "$scratch" --product mrp --sanitize address -Xswiftc -O \
            -Xswiftc -sanitize-coverage=edge,inline-8bit-counters,pc-table -Xcc -fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp |
            tail -2
        library_built=1
    fi
    "$clang" "${flags[@]}" -D_GNU_SOURCE -Iinclude "Tests/fuzz/fuzz_$1.c" -L"$scratch/debug" -lmrp -rdynamic \
        -Wl,-rpath,"$PWD/$scratch/debug" -o "$out/fuzz_$1"
}

export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_abort=1 UBSAN_OPTIONS=print_stacktrace=1
failed=0
for name in "$@"; do
    case $name in image | points) "build_$name" ;; *) build_over_library "$name" ;; esac
    seeds=Tests/fuzz/corpus/$name
    [ "$name" != image ] || seeds=Tests/fixtures/images
    mkdir -p "$out/$name"
    if [ $merge -eq 1 ]; then
        mkdir -p "Tests/fuzz/corpus/$name"
        rm -rf "$out/$name.merged" && mkdir -p "$out/$name.merged"
        "$out/fuzz_$name" -merge=1 "$out/$name.merged" "$seeds" "$out/$name" >"$out/$name.log" 2>&1
        rm -rf "Tests/fuzz/corpus/$name" && cp -r "$out/$name.merged" "Tests/fuzz/corpus/$name"
        continue
    fi
    if "$out/fuzz_$name" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$out/$name-" "$out/$name" "$seeds" >"$out/$name.log" 2>&1; then
        result='0 crashes'
    else
        failed=1
        result=CRASHED
        tail -n 40 "$out/$name.log"
    fi
    executions=$(sed -nE 's/^stat::number_of_executed_units: //p' "$out/$name.log")
    edges=$(grep -oE 'cov: [0-9]+' "$out/$name.log" | tail -1 | cut -d' ' -f2)
    printf '%-11s %s, %s executions, %s edges, %s s on %s\n' "$name" "$result" "${executions:-?}" "${edges:-?}" "$seconds" "$processor"
done
rm -rf /dev/shm/mrp-fuzz-*
exit $failed
