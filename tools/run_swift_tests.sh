#!/usr/bin/env bash
# The Swift tests in the optimised build; what failed is said again at the end, where a log that was cut still shows it.
# The tests share the library's optimised modules, so they see public declarations only (no @testable).
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
swift test -c release --disable-testable-imports --scratch-path "${SCRATCH:-.build}" "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
if ((status)); then
    echo "Failed:"
    grep -E '✘|error:|Fatal error' "$log" | tail -40
fi
exit "$status"
