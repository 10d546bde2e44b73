#!/usr/bin/env bash
# What compiles and runs C for arm64 here, unpacked into build/arm64/root: the C library, libjpeg and libpng, and QEMU. Nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/build/arm64/root
[ ! -e "$root/complete" ] || exit 0
packages=(libc6-dev-arm64-cross libc6-arm64-cross linux-libc-dev-arm64-cross libgcc-12-dev-arm64-cross qemu-user-static
    libjpeg62-turbo-dev:arm64 libpng-dev:arm64 zlib1g-dev:arm64)
rm -rf "$root"
mkdir -p "$root/apt/lists/partial" "$root/apt/archives/partial"
# Lists of their own: the system's have this machine's architecture only.
apt=(apt-get -q -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o "Dir::State::Lists=$root/apt/lists" -o "Dir::Cache=$root/apt"
    -o APT::Sandbox::User=root)
"${apt[@]}" update >/dev/null
(cd "$root/apt" && "${apt[@]}" download "${packages[@]}" >/dev/null)
for package in "$root"/apt/*.deb; do dpkg -x "$package" "$root"; done
rm -rf "$root/apt"
touch "$root/complete"
