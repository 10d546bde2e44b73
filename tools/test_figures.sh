#!/usr/bin/env bash
# The figures of docs/testing.md, counted from the sources: tests by kind, and lines of tests for a line of the library.
set -euo pipefail
cd "$(dirname "$0")/.."
lines() { git ls-files -- "$@" | xargs cat | grep -cvE '^\s*($|//|/\*|\*|#)' || true; }
echo "Swift tests: $(git ls-files 'Tests/*.swift' | xargs grep -ohE '^\s*@Test' | wc -l) functions, many with lists of cases"
echo "C programs for kernels and decoders: $(git ls-files 'Tests/c/test_*.c' | grep -vc abi)"
echo "C programs for the interface: $(git ls-files 'Tests/c/abi/test_*.c' | wc -l)"
echo "Python tests: $(git ls-files 'Tests/python/test_*.py' 'Tests/tools/test_*.py' | xargs grep -ohE '^(async )?def test_' | wc -l) functions, many with lists of cases"
echo "fuzz targets: $(git ls-files 'Tests/fuzz/fuzz_*.c' | wc -l), and sequences of calls"
library=$(lines 'Sources/*.swift' 'Sources/*.c' 'Sources/*.h' 'Sources/*.inc' 'bindings/*.c' 'bindings/*.py')
tests=$(lines 'Tests/*.swift' 'Tests/*.c' 'Tests/*.h' 'Tests/*.py')
echo "lines: $library of the library, $tests of tests, $(awk "BEGIN { printf \"%.2f\", $tests / $library }") for one"
