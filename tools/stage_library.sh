#!/usr/bin/env bash
# stage_library.sh PRODUCTS: puts SwiftPM's library into build/lib, stripped and under its SONAME, and the header into build/include.
set -euo pipefail
cd "$(dirname "$0")/.."
product=$1/libmrp.so
mkdir -p build/lib build/include
if [ ! build/lib/libmrp.so.0 -nt "$product" ]; then
    strip --strip-unneeded -o build/lib/libmrp.so.0.new "$product"
    mv build/lib/libmrp.so.0.new build/lib/libmrp.so.0 # a new file: programs that have the old one loaded keep it
fi
ln -sfn libmrp.so.0 build/lib/libmrp.so
cmp -s include/mrp.h build/include/mrp.h || cp include/mrp.h build/include/mrp.h
