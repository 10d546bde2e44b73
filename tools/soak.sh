#!/usr/bin/env bash
# A host that lives long (Tests/fuzz/soak.c). Usage: soak.sh SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/fuzz
cc -std=gnu11 -O1 -g -Wall -Wextra -Werror -Iinclude Tests/fuzz/soak.c -Lbuild/lib -lmrp -lpthread -Wl,-rpath,"$PWD/build/lib" -o build/fuzz/soak
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
build/fuzz/soak "$1" "$folder"
