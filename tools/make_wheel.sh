#!/usr/bin/env bash
# Writes dist/libmrp-*.whl: the extension, libmrp.so.0 and the image libraries that it needs side by side in one folder, found by
# RUNPATH $ORIGIN alone; the platform tag is the lowest one that auditwheel finds the symbols to allow. At most 8 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

MRP_LIBRARY=build/lib/libmrp.so.0 python -m pip wheel --quiet --no-deps --no-build-isolation --disable-pip-version-check . -w "$work/plain"
python -m zipfile -e "$work"/plain/*.whl "$work/tree"
package=$work/tree/mrp
licenses=$(echo "$work"/tree/*.dist-info/licenses)

# Libraries beside libmrp.so.0 under names of their own, so that no other package's copy is taken for them.
bundle() { # bundle FILE: gives FILE its own copies of the image libraries that it needs
    local needed source copy
    for needed in $(patchelf --print-needed "$1" | grep -E '^lib(jpeg|png16|z)\.so'); do
        copy=libmrp-$needed
        if [ ! -e "$package/$copy" ]; then
            source=$(ldd "$1" | awk -v name="$needed" '$1 == name {print $3}')
            cp -L "$source" "$package/$copy"
            chmod 755 "$package/$copy"
            strip --strip-unneeded "$package/$copy"
            patchelf --set-soname "$copy" "$package/$copy"
            license "$needed"
            bundle "$package/$copy"
        fi
        patchelf --replace-needed "$needed" "$copy" "$1"
    done
    patchelf --set-rpath '$ORIGIN' "$1"
}
license() { # license LIBRARY: the notice of Debian's package travels along
    local owner
    case $1 in libjpeg*) owner=libjpeg62-turbo ;; libpng*) owner=libpng16-16 ;; *) owner=zlib1g ;; esac
    for owner in "$owner" "${owner}t64"; do
        if [ -e "/usr/share/doc/$owner/copyright" ]; then
            cp -L "/usr/share/doc/$owner/copyright" "$licenses/$owner.txt"
            return
        fi
    done
    echo "make_wheel: no licence text for $1 on this machine" >&2
    exit 1
}
bundle "$package/libmrp.so.0"
patchelf --set-rpath '$ORIGIN' "$package/_mrp.abi3.so"

python - "$work/tree" "$work/packed" <<'PYTHON'
import base64, hashlib, pathlib, sys, zipfile
root, out = map(pathlib.Path, sys.argv[1:])
info = next(root.glob("*.dist-info"))
rows = []
for path in sorted(p for p in root.rglob("*") if p.is_file() and p.name != "RECORD"):
    digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
    rows.append(f"{path.relative_to(root)},sha256={digest},{path.stat().st_size}")
(info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,", ""]))
tags = [line.split(": ")[1] for line in (info / "WHEEL").read_text().splitlines() if line.startswith("Tag: ")]
out.mkdir()
with zipfile.ZipFile(out / f"{info.name.removesuffix('.dist-info')}-{tags[0]}.whl", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        entry = zipfile.ZipInfo(str(path.relative_to(root)), (2020, 1, 1, 0, 0, 0))  # the same tree gives the same file
        entry.external_attr = (0o100755 if ".so" in path.name else 0o100644) << 16
        wheel.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
PYTHON

rm -rf build/wheel && mkdir -p build/wheel dist
auditwheel repair --wheel-dir build/wheel "$work"/packed/*.whl >"$work/audit" 2>&1 || { cat "$work/audit" >&2 && exit 1; }
wheel=$(echo build/wheel/libmrp-*-cp311-abi3-manylinux*.whl)
size=$(stat -c %s "$wheel")
[ "$size" -le 8000000 ] || { echo "make_wheel: $wheel has $size bytes, the limit is 8000000" >&2 && exit 1; }

# What was promised, on the result.
python -m zipfile -e "$wheel" "$work/result"
[ -z "$(find "$work/result" -name '*.libs')" ] || { echo "make_wheel: auditwheel found a library that is not bundled" >&2 && exit 1; }
for file in "$work"/result/mrp/*.so*; do
    paths=$(patchelf --print-rpath "$file")
    [ "$paths" = '$ORIGIN' ] || { echo "make_wheel: RUNPATH of $(basename "$file") is '$paths'" >&2 && exit 1; }
done
rm -f dist/libmrp-*.whl
cp "$wheel" dist/
echo "dist/$(basename "$wheel"): $size bytes"
