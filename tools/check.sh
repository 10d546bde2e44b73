#!/usr/bin/env bash
# The checks that need no test run: formatting, types, the header and what it promises, the library's symbols and dependencies, words
# that library code must not contain. Expects `make build` to have run. Each line is one check; the last one counts them.
set -uo pipefail
cd "$(dirname "$0")/.."

release=${SCRATCH:-.build}/release
library=build/lib/libmrp.so.0
toolchain=$(dirname "$(readlink -f "$(command -v swift)")")
venv=.venv/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

step() { # step TITLE COMMAND...: runs the command, shows what it printed only when it failed
    local title=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
        printf 'ok      %s\n' "$title"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n' "$title"
        head -n "${CHECK_LINES:-40}" "$work/log"
    fi
}
files() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done; }

# ---- Formatting

format_swift() { files '*.swift' | xargs -0 swift format lint --strict --parallel; }
format_c() { files '*.c' '*.h' '*.inc' ':!include/mrp.h' | xargs -0 "$venv/clang-format" --dry-run -Werror; }
format_python() { "$venv/ruff" check --quiet . && "$venv/ruff" format --quiet --check --diff .; }
shell_syntax() { files '*.sh' .ci/run | xargs -0 -n 1 bash -n; }
step "swift format" format_swift
step "clang-format" format_c
step "ruff" format_python
step "shell syntax" shell_syntax
stubs() { (cd bindings/python && "../../$venv/stubtest" mrp._mrp --mypy-config-file ../../pyproject.toml); }
step "types: mypy --strict" "$venv/mypy"
step "types: the stub is what the extension has" stubs

# ---- Words

absent() { # absent PATTERN FILES...: no line of these files holds it, comments aside
    local pattern=$1
    shift
    files "$@" >"$work/list"
    [ -s "$work/list" ] || { echo "no files match $*" && return 1; }
    xargs -0 grep -nHE "$pattern" <"$work/list" | grep -vE '^[^:]+:[0-9]+:\s*(//|\*|/\*|#)' >"$work/hits"
    cat "$work/hits"
    [ ! -s "$work/hits" ]
}
step "Swift: no Foundation, Dispatch, Regex, unstructured tasks" absent \
    '^\s*(@\w+ )?(public |internal )?import (Foundation\w*|Dispatch|_StringProcessing|RegexBuilder)\b|\bTask(\.detached)? *[({]' 'Sources/*.swift'
step "Swift: nothing that ends or prints in the host process" absent \
    'try!|\bas!|\bfatalError\(|\bpreconditionFailure\(|\b(debugPrint|print|dump|exit|abort)\(' 'Sources/*.swift'
step "C: nothing that ends or prints in the host process" absent \
    '(^|[^_[:alnum:]])(f?printf|v?fprintf|puts|perror|exit|_exit|abort|assert|signal|sigaction)\(' 'Sources/*.c' 'Sources/*.h' 'Sources/*.inc'
step "no -Ounchecked, no OpenMP" absent 'Ounchecked|fopenmp|omp\.h' Package.swift 'Sources/*' Makefile 'tools/*' ':!tools/check.sh'

# ---- The header and the library

regenerated() {
    python3 tools/generate_header.py --build "$release" --header "$work/mrp.h" --symbols "$work/symbols.txt" &&
        python3 tools/option_table.py --library "$release/libmrp.so" --output "$work/options.md" &&
        diff -u include/mrp.h "$work/mrp.h" && diff -u packaging/symbols.txt "$work/symbols.txt" && diff -u docs/options.md "$work/options.md" || { echo 'run `make header`'; return 1; }
}
symbols() { # exported == listed == declared, where the declarations are a C compiler's reading of the header
    nm -D --defined-only "$library" | awk '{sub(/@.*/, "", $3); print $3}' | LC_ALL=C sort >"$work/exported"
    printf '#include "%s/include/mrp.h"\n' "$PWD" >"$work/declared.c"
    "$toolchain/clang" -fsyntax-only -Xclang -ast-dump=json "$work/declared.c" | python3 -c '
import json, sys
for node in json.load(sys.stdin)["inner"]:
    if node["kind"] == "FunctionDecl" and not node.get("isImplicit"):
        print(node["name"])' | LC_ALL=C sort >"$work/declared"
    diff -u --label packaging/symbols.txt packaging/symbols.txt --label 'exported (nm -D)' "$work/exported" &&
        diff -u --label packaging/symbols.txt packaging/symbols.txt --label 'declared (mrp.h)' "$work/declared"
}
redeclared() { # the compiler's own prototypes are compatible with the header's
    {
        printf '#include "%s/include/mrp.h"\n' "$PWD"
        printf '#define SWIFT_EXTERN extern\n#define SWIFT_NOEXCEPT\n#define SWIFT_WARN_UNUSED_RESULT\n'
        grep -E '^SWIFT_EXTERN .*;$' "$release/MRP.build/include/MRP-Swift.h"
    } >"$work/redeclared.c"
    "$toolchain/clang" -std=c11 -Wno-nullability-extension -Wno-nullability-completeness -fsyntax-only -Werror "$work/redeclared.c"
}
opening_example() { # the program on the header's first page compiles and links
    python3 - include/mrp.h >"$work/example.c" <<'PYTHON'
import sys
page = open(sys.argv[1]).read().split("#ifndef MRP_H")[0].splitlines()
code = [line.removeprefix(" *").removeprefix("     ") for line in page if line.startswith(" *     ") or line == " *"]
start = next(i for i, line in enumerate(code) if line.startswith("#include"))
end = max(i for i, line in enumerate(code) if line == "}")
print("\n".join(code[start : end + 1]))
PYTHON
    cc -std=c99 -Wall -Wextra -Wpedantic -Werror -Iinclude "$work/example.c" -o "$work/example" -Lbuild/lib -lmrp
}
self_contained() {
    readelf -d "$library" >"$work/dynamic" || return 1
    needed=$(sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' "$work/dynamic")
    unwanted=$(grep -vE '^(libc|libm|libpthread|libdl|ld-linux-[a-z0-9_-]+|libjpeg|libpng16|libz)\.so' <<<"$needed")
    [ -z "$unwanted" ] || { echo "depends on $unwanted" && return 1; }
    grep -q '(SONAME).*\[libmrp.so.0\]' "$work/dynamic" || { echo "SONAME is not libmrp.so.0" && return 1; }
    paths=$(sed -nE 's/.*\((RUNPATH|RPATH)\).*\[(.*)\]/\2/p' "$work/dynamic")
    [ -z "$paths" ] || [ "$paths" = '$ORIGIN' ] || { echo "RUNPATH is $paths" && return 1; }
    grep -q 'FLAGS_1.*NODELETE' "$work/dynamic" || { echo "lacks -z nodelete" && return 1; }
    ! readelf -lW "$library" | grep -E 'GNU_STACK.*RWE' || { echo "executable stack" && return 1; }
}
step "header, symbol list and docs/options.md are what the sources give" regenerated
step "symbols: exported, listed and declared are the same" symbols
step "the compiler's prototypes agree with the header" redeclared
step "the header's opening example compiles and links" opening_example
step "the library is self-contained" self_contained

printf '#include "%s/include/mrp.h"\nint not_empty;\n' "$PWD" | tee "$work/alone.c" >"$work/alone.cc"
warnings=(-Wall -Wextra -Wpedantic -Werror -fsyntax-only)
header_compiles() { # header_compiles COMPILER FILE STANDARD...
    local compiler=$1 file=$2 standard extra=()
    shift 2
    [ "$file" = "$work/alone.cc" ] || extra=(-Wstrict-prototypes)
    for standard in "$@"; do "$compiler" "-std=$standard" "${warnings[@]}" "${extra[@]}" "$file" || { echo "$compiler -std=$standard" && return 1; }; done
}
for compiler in gcc "$toolchain/clang"; do
    if command -v "$compiler" >/dev/null; then
        step "header alone: $(basename "$compiler"), C99 to C23" header_compiles "$compiler" "$work/alone.c" c99 c11 c17 c2x
    else
        echo "note    $compiler is not on this machine: the header was not compiled with it"
    fi
done
for compiler in g++ "$toolchain/clang++"; do
    if command -v "$compiler" >/dev/null; then
        step "header alone: $(basename "$compiler"), C++11 to C++20" header_compiles "$compiler" "$work/alone.cc" c++11 c++14 c++17 c++20
    else
        echo "note    $compiler is not on this machine: the header was not compiled with it"
    fi
done
if [ -e build/arm64/root/complete ]; then
    step "C parts compile for arm64" tools/check-arm64.sh
else
    echo "note    the C parts were not compiled for arm64: no headers for it (tools/setup_arm64.sh fetches them)"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
