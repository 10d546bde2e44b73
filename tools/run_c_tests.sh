#!/usr/bin/env bash
# Compiles and runs the C tests; each program is one test, which passes when it exits with 0.
#   Tests/c/test_*.c      the internals: linked with the objects of CMRPKernels, CMRPImage and CMRPPoints
#   Tests/c/abi/test_*.c  the library as its users have it: build/include/mrp.h and build/lib/libmrp.so
#   examples/c/lab.c, segment.c      compiled like those; Tests/c/abi/check_example_*.sh run them
# Usage: run_c_tests.sh [--sanitize KIND | --library FOLDER KIND] [NAME...]
#   --sanitize   the internals only, compiled anew with a sanitizer: address (UBSan too), undefined, thread
#   --library    the C interface only, on the libmrp.so in FOLDER, which was built with that sanitizer
set -euo pipefail
cd "$(dirname "$0")/.."

release=${SCRATCH:-.build}/release
clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
flags=(-std=gnu11 -O2 -g -Wall -Wextra -Wno-unused-function -Werror)
includes=(-ISources/CMRPKernels/include -ISources/CMRPImage/include -ISources/CMRPPoints/include -ITests/c)
libraries=(-ljpeg -lpng16 -lm -lpthread)
out=build/c-tests
sanitize=0 internals=1 abi=1
user=(cc -std=c99 -O1 -g -Wall -Wextra -Wpedantic -Werror -Ibuild/include -Lbuild/lib -Wl,-rpath,"$PWD/build/lib")
if [ "${1:-}" = --sanitize ]; then
    sanitize=1 abi=0
    out=build/c-tests-$2
    kinds=$2
    [ "$kinds" != address ] || kinds=address,undefined
    flags+=(-O1 -fno-omit-frame-pointer "-fsanitize=$kinds" -fno-sanitize-recover=all)
    libraries+=(-fuse-ld=lld)
    shift 2
elif [ "${1:-}" = --library ]; then
    internals=0
    out=build/c-tests-library-$3
    # A library with ThreadSanitizer leaves Swift's own two libraries to the program.
    swift_libraries=$(dirname "$clang")/../lib/swift/linux
    user=("$clang" -std=c99 -O1 -g -Wall -Wextra -Werror -fsanitize="$3" -Iinclude -L"$2" -Wl,-rpath,"$PWD/$2"
        -L"$swift_libraries" -ldispatch -lBlocksRuntime -Wl,-rpath,"$swift_libraries")
    shift 3
fi
wanted=" $* "
mkdir -p "$out"

objects=()
if [ $sanitize -eq 1 ]; then
    for source in Sources/CMRPKernels/*.c Sources/CMRPImage/*.c Sources/CMRPPoints/*.c; do
        object=$out/$(basename "$(dirname "$source")")-$(basename "$source" .c).o
        "$clang" "${flags[@]}" -fno-math-errno "${includes[@]}" -c "$source" -o "$object"
        objects+=("$object")
    done
else
    for source in Sources/CMRPKernels/*.c Sources/CMRPImage/*.c Sources/CMRPPoints/*.c; do # not all objects there: a build folder keeps those of deleted sources
        objects+=("$release/$(basename "$(dirname "$source")").build/$(basename "$source").o")
    done
fi

passed=0
failed=()
run() { # run NAME CHECKER COMMAND...: compiles with COMMAND; CHECKER gets the program as its argument, '' runs the program itself
    local name=$1 checker=$2 start=$SECONDS
    shift 2
    case "$wanted" in "  " | *" $name "*) ;; *) return 0 ;; esac
    rm -f "$out/$name" "$out/$name.log"
    if "$@" -o "$out/$name" && $checker "$out/$name" >"$out/$name.log" 2>&1; then
        passed=$((passed + 1))
        printf 'ok      %-28s %3d s  %s\n' "$name" $((SECONDS - start)) "$(tail -n 1 "$out/$name.log")"
    else
        failed+=("$name")
        printf 'FAILED  %s\n' "$name"
        [ ! -f "$out/$name.log" ] || tail -n 40 "$out/$name.log"
    fi
}

shopt -s nullglob
for source in Tests/c/test_*.c; do
    [ $internals -eq 1 ] || break
    run "$(basename "$source" .c)" '' "$clang" "${flags[@]}" "${includes[@]}" "$source" "${objects[@]}" "${libraries[@]}"
done
if [ $abi -eq 1 ]; then
    for source in Tests/c/abi/test_*.c; do
        run "abi_$(basename "$source" .c)" '' "${user[@]}" -D_XOPEN_SOURCE=700 -ITests/c "$source" -lmrp -lm -lpthread
    done
    run example_segment Tests/c/abi/check_example_segment.sh "${user[@]}" examples/c/segment.c -lmrp
    run example_lab Tests/c/abi/check_example_lab.sh "${user[@]}" examples/c/lab.c -lmrp
fi
echo "$passed passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ] && [ $passed -gt 0 ]
