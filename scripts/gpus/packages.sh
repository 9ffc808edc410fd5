#!/usr/bin/env bash
# usage: packages.sh DIR. Unpacks Debian 13's Vulkan drivers, their loader and the shims that stand in for a GPU's
# kernel driver into DIR (260 MB), beside this system's own: nothing is installed. Needs apt and Debian's keys.
set -euo pipefail
say() { printf 'check-gpus: %s\n' "$*" >&2; }
dir=$(mkdir -p "$1" && cd "$1" && pwd)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ "$(uname -sm)" = "Linux x86_64" ] || { say "expected Linux on x86_64, got $(uname -sm)"; exit 3; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { say "expected apt-get and dpkg-deb, got none"; exit 3; }
[ -r "$keys" ] || { say "expected $keys (package debian-archive-keyring), got none"; exit 3; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
touch "$work/status"
# the mirror that this system takes its own packages from, else Debian's
mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" && $2 == "main" {print $3; exit}')
echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} trixie main" > "$work/sources.list"
apt() {
  apt-get -qq -o Dir::State="$work/state" -o Dir::Cache="$work/cache" -o Dir::State::status="$work/status" \
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- -o Acquire::Languages=none \
    -o APT::Sandbox::User= -o Debug::NoLocking=true "$@" >&2
}
say "fetching Debian 13's Vulkan drivers (57 MB)"
apt update && apt install -y --download-only --no-install-recommends mesa-vulkan-drivers mesa-drm-shim libvulkan1 libstdc++6 ||
  { say "the packages cannot be fetched"; exit 3; }
for package in "$work"/cache/archives/*.deb; do dpkg-deb -x "$package" "$dir/root"; done
basename "$work"/cache/archives/mesa-vulkan-drivers_*.deb | cut -d_ -f2 > "$dir/version"
