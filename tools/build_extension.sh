#!/usr/bin/env bash
# Builds the CPython extension in place, bindings/python/mrp/_mrp.abi3.so, beside a link to build/lib/libmrp.so.0, when its sources
# are newer than it. The stable ABI makes one file serve every Python from 3.11 on.
set -euo pipefail
cd "$(dirname "$0")/.."

package=bindings/python/mrp
target=$package/_mrp.abi3.so
shopt -s nullglob
sources=(bindings/python/*.c)
if [ ${#sources[@]} -eq 0 ]; then
    echo "build_extension: no C sources in bindings/python" >&2
    exit 1
fi
ln -sfn ../../../build/lib/libmrp.so.0 "$package/libmrp.so.0"
stale=0
for input in "${sources[@]}" bindings/python/*.h include/mrp.h .venv/stamp tools/build_extension.sh; do
    [ "$target" -nt "$input" ] || stale=1
done
[ $stale -eq 1 ] || exit 0
headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
echo "cc _mrp.abi3.so"
cc -std=c11 -O2 -g0 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -DPy_LIMITED_API=0x030B0000 -isystem "$headers" -Iinclude \
    "${sources[@]}" -shared -o "$target.new" -Wl,-rpath,'$ORIGIN' -L"$package" -l:libmrp.so.0
mv "$target.new" "$target"
