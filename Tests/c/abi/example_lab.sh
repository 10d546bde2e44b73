#!/usr/bin/env bash
# example_lab.sh -o PROGRAM: builds examples/c/lab.c, and PROGRAM, a script that checks its exit status and what it writes.
set -euo pipefail
cd "$(dirname "$0")/../../.."
program=$2
cc -std=c99 -O1 -g -Wall -Wextra -Wpedantic -Werror -Ibuild/include examples/c/lab.c -o "$program.bin" -Lbuild/lib -lmrp \
    -Wl,-rpath,"$PWD/build/lib"
cat >"$program" <<'PROGRAM'
#!/usr/bin/env bash
set -uo pipefail
lab=$0.bin failed=0
check() { # check STATUS WORD ARGUMENTS...
    local wanted=$1 word=$2 got=0
    shift 2
    text=$("$lab" "$@" 2>&1) || got=$?
    if [ $got -ne "$wanted" ] || ! grep -q -- "$word" <<<"$text"; then
        echo "lab $*: status $got instead of $wanted, or no '$word' in: $text"
        failed=1
    fi
}
rm -f "$0.json"
check 0 'all_semantics_captured .* holds' preset=quick json="$0.json"
grep -q '"claims_hold": true' "$0.json" || { echo "no verdict in the JSON" && failed=1; }
check 1 'all_semantics_captured .* fails' preset=quick T=1 supervised=false
check 2 "'tau'" tua=1
check 2 'presence (s) 11.0 is above k = 10' s=11
check 2 'multiview, quick' preset=slow
check 2 'cannot write' preset=quick T=1 supervised=false json=/no/such/folder/report.json
check 0 'rho_bar' help
echo "examples/c/lab.c: $([ $failed -eq 0 ] && echo as it should be || echo failed)"
exit $failed
PROGRAM
chmod +x "$program"
