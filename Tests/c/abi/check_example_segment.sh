#!/usr/bin/env bash
# check_example_segment.sh PROGRAM: runs examples/c/segment.c, compiled as PROGRAM, on a few scenes, and checks its output.
set -uo pipefail
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
program=$(realpath "$1")
text=$(cd "$folder" && MRP_IMAGES=32 MRP_TEST=4 MRP_WIDTH=4 MRP_EPOCHS=1 "$program" 2>&1) || { echo "segment failed: $text" && exit 1; }
grep -q 'mean intersection over union 0\.' <<<"$text" && [ -s "$folder/segmenter.safetensors" ] && [ "$(wc -l <<<"$text")" -eq 17 ] ||
    { echo "unexpected: $text" && exit 1; }
cd "$folder" && "$program" /no/such/folder >/dev/null 2>&1 && echo "a missing folder is no error" && exit 1
echo "examples/c/segment.c: as it should be"
