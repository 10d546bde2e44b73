#!/usr/bin/env bash
# install.sh install|uninstall: puts build/lib and build/include, the files of pkg-config and CMake, and the licence under
# $DESTDIR$PREFIX, or removes exactly these. PREFIX: /usr/local. No file names an absolute path: the tree may be moved.
set -euo pipefail
cd "$(dirname "$0")/.."
action=$1
prefix=${PREFIX:-/usr/local}
case "$prefix" in /*) ;; *) echo "install: PREFIX '$prefix' is not an absolute path" >&2 && exit 2 ;; esac
root=${DESTDIR:-}$prefix
version=$(sed -nE 's/^#define MRP_VERSION "(.*)"$/\1/p' include/mrp.h)

# A file's mode, source and place. Sources that end in .in get the version.
files=(
    "755 build/lib/libmrp.so.0 lib/libmrp.so.$version"
    "644 include/mrp.h include/mrp.h"
    "644 packaging/mrp.pc.in lib/pkgconfig/mrp.pc"
    "644 packaging/cmake/mrp-config.cmake lib/cmake/mrp/mrp-config.cmake"
    "644 packaging/cmake/mrp-config-version.cmake.in lib/cmake/mrp/mrp-config-version.cmake"
    "644 LICENSE share/doc/libmrp/LICENSE"
    "644 STABILITY.md share/doc/libmrp/STABILITY.md"
)
links=("libmrp.so.$version lib/libmrp.so.0" "libmrp.so.0 lib/libmrp.so")

case "$action" in
install)
    [ -e build/lib/libmrp.so.0 ] || { echo "install: build/lib/libmrp.so.0 is missing: run make library first" >&2 && exit 1; }
    for entry in "${files[@]}"; do
        read -r mode source place <<<"$entry"
        mkdir -p "$root/$(dirname "$place")"
        # Beside the old file and then in its place: programs that run keep what they have loaded.
        if [[ $source == *.in ]]; then sed "s/@VERSION@/$version/g" "$source" >"$root/$place.new"; else cp "$source" "$root/$place.new"; fi
        chmod "$mode" "$root/$place.new"
        mv "$root/$place.new" "$root/$place"
    done
    for entry in "${links[@]}"; do ln -sfn "${entry% *}" "$root/${entry#* }"; done
    echo "libmrp $version is in $root"
    ;;
uninstall)
    for entry in "${files[@]}" "${links[@]}"; do rm -f "$root/${entry##* }"; done
    for folder in lib/pkgconfig lib/cmake/mrp lib/cmake share/doc/libmrp share/doc share include lib; do
        rmdir "$root/$folder" 2>/dev/null || true # others may have files there
    done
    ;;
*) echo "usage: install.sh install|uninstall" >&2 && exit 2 ;;
esac
