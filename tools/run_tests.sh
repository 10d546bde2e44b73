#!/usr/bin/env bash
# Every test: Swift, then C and Python side by side (most of both use one core). Usage: run_tests.sh [--fast]    --fast: what is not slow
set -uo pipefail
cd "$(dirname "$0")/.."
swift_arguments=() python_arguments=()
[ "${1:-}" != --fast ] || { swift_arguments=(--skip Slow) && python_arguments=(-m "not slow"); }

# Tests of devices are skipped, and say so, where the plug-ins cannot be had.
tools/setup_devices.sh >/dev/null || true
tools/run_swift_tests.sh "${swift_arguments[@]}" || exit 1
# Two files of the Python tests follow the C tests, so that both sides take about as long.
apart=(Tests/python/test_fingerprints.py Tests/python/test_wheel.py)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
    c_status=0
    tools/run_c_tests.sh &&
        # The short forms of docs/testing.md.
        tools/fuzz.sh --seconds 10 image &&
        tools/fuzz.sh --seconds 2 --release model json checkpoint options study run_log labels &&
        tools/fuzz_api.sh release --seconds 10 --threads 4 --failing --fork --signals &&
        tools/soak.sh 5 || c_status=1
    .venv/bin/python -m pytest "${python_arguments[@]}" "${apart[@]}" && exit "$c_status"
    exit 1
} >"$log" 2>&1 &
c_tests=$!
.venv/bin/python -m pytest "${python_arguments[@]}" "${apart[@]/#/--ignore=}"
python_status=$?
wait "$c_tests"
c_status=$?
cat "$log"
exit $((python_status || c_status))
