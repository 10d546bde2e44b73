#!/usr/bin/env bash
# Random sequences of calls (Tests/fuzz/api.c).
# Usage: fuzz_api.sh release|address|thread ARGUMENTS OF api...
#   release   the library of `make build`
#   address, thread   a library with that sanitizer, which takes minutes to build (.build/address, .build/thread)
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
shift
mkdir -p build/fuzz
program=build/fuzz/api-$kind
flags=(-std=gnu11 -O1 -g -Wall -Wextra -Werror -Iinclude Tests/fuzz/api.c)
if [ "$kind" = release ]; then
    cc "${flags[@]}" -Lbuild/lib -lmrp -lpthread -Wl,-rpath,"$PWD/build/lib" -o "$program"
else
    scratch=.build/$kind
    swift build --scratch-path "$scratch" --product mrp --sanitize "$kind" -Xswiftc -O | tail -1
    tools=$(dirname "$(readlink -f "$(command -v swift)")")
    swift_libraries=$tools/../lib/swift/linux # which a library with ThreadSanitizer leaves to the program
    "$tools/clang" "${flags[@]}" -fsanitize="$kind" -L"$scratch/debug" -lmrp -lpthread -Wl,-rpath,"$PWD/$scratch/debug" \
        -L"$swift_libraries" -ldispatch -lBlocksRuntime -Wl,-rpath,"$swift_libraries" -o "$program"
fi
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 TSAN_OPTIONS=suppressions=$PWD/Tests/fuzz/tsan.txt:allocator_may_return_null=1:die_after_fork=0
"$program" "$@"
