#!/usr/bin/env bash
# Tests under a sanitizer: address and undefined (C internals, both at once), then the Swift tests and the C interface's tests on a library
# with it. UBSan is clang's, for C; Swift traps by itself where C would be undefined.
# Usage: sanitize.sh address|undefined|thread
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
scratch=${SCRATCH:-.build}/$kind
export ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=suppressions=$PWD/Tests/fuzz/tsan.txt:allocator_may_return_null=1:die_after_fork=0
tools/run_c_tests.sh --sanitize "$kind"
[ "$kind" != undefined ] || exit 0
swift build --build-tests --sanitize "$kind" --scratch-path "$scratch" -Xswiftc -O | tail -1
swift build --product mrp --sanitize "$kind" --scratch-path "$scratch" -Xswiftc -O | tail -1
swift test --skip-build --sanitize "$kind" --scratch-path "$scratch" -Xswiftc -O
tools/run_c_tests.sh --library "$scratch/debug" "$kind"
