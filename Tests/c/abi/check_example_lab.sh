#!/usr/bin/env bash
# check_example_lab.sh PROGRAM: runs examples/c/lab.c, compiled as PROGRAM, and checks its exit status and its output.
set -uo pipefail
lab=$1
json=$lab.json
failed=0

check() { # check STATUS WORD ARGUMENTS...
    local wanted=$1 word=$2 got=0 text
    shift 2
    text=$("$lab" "$@" 2>&1) || got=$?
    if [ $got -ne "$wanted" ] || ! grep -q -- "$word" <<<"$text"; then
        echo "lab $*: status $got instead of $wanted, or no '$word' in: $text"
        failed=1
    fi
}

rm -f "$json"
check 0 'all_semantics_captured .* holds' preset=quick json="$json"
grep -q '"claims_hold": true' "$json" || { echo "no verdict in the JSON" && failed=1; }
check 1 'all_semantics_captured .* fails' preset=quick T=1 supervised=false
check 2 "'tau'" tua=1
check 2 'presence (s) 11.0 is above k = 10' s=11
check 2 'multiview, quick' preset=slow
check 2 'cannot write' preset=quick T=1 supervised=false json=/no/such/folder/report.json
check 0 'rho_bar' help
echo "examples/c/lab.c: $([ $failed -eq 0 ] && echo as it should be || echo failed)"
exit $failed
