#!/bin/sh
# Installs PJRT plug-ins that compute on the CPU, with which the tests of devices run: the newest and an old one, into build/devices or
# the folder named. Prints the path of each, newest first. Does nothing, without the network, when they are there. The old one brings
# the C API's header (xla_plugins/xla_cpu_pjrt/include/pjrt_c_api.h). Uploads of third parties, hence pinned, and for tests only.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-build/devices}
newest=lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so
old=xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so

refuse() {
    echo "setup_devices: $*" >&2
    exit 1
}

if [ ! -f "$folder/$newest" ] || [ ! -f "$folder/$old" ]; then
    case $(uname -sm) in
        "Linux x86_64") ;;
        *) refuse "these plug-ins exist for Linux on x86-64 only, this is $(uname -sm)" ;;
    esac
    python=.venv/bin/python
    [ -x "$python" ] || python=$(command -v python3) || refuse "no python3 whose pip installs them"
    work=$(mktemp -d)
    trap 'rm -rf "$work" "$folder/new.$$"' EXIT
    cat >"$work/requirements.txt" <<REQUIREMENTS
lammps-jax-pjrt-cpu==0.11.2 --hash=sha256:1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1
xla-cpu-pjrt==0.0.1 --hash=sha256:55837b6b7b47daa717f2d9a5a03563ea0ceaa338d06a81a1e2d3f060d960decc
REQUIREMENTS
    mkdir -p "$folder"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary :all: --require-hashes \
        --target "$folder/new.$$" -r "$work/requirements.txt" >"$work/log" 2>&1 ||
        refuse "pip could not install the plug-ins: $(grep -v '^ *$' "$work/log" | tail -1)"
    for entry in "$folder/new.$$"/*; do
        rm -rf "$folder/${entry##*/}"
        mv "$entry" "$folder/"
    done
fi
for plugin in "$newest" "$old"; do
    [ -f "$folder/$plugin" ] || refuse "$folder has no $plugin"
    echo "$(cd "$folder" && pwd)/$plugin"
done
