#!/usr/bin/env bash
# Installs Mesa's software Vulkan driver (lavapipe), a WebGPU device for machines without a GPU.
# Debian and Ubuntu; needs root or password-less sudo. Dawn refuses Mesa below 24, so Debian 12
# takes it from backports.
set -euo pipefail

say() { printf 'software-vulkan: %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

[ -r /etc/os-release ] || { say "expected Debian or Ubuntu; install a Vulkan driver (Mesa 24 or newer) by hand"; exit 1; }
. /etc/os-release
case "${ID:-} ${ID_LIKE:-}" in
  *debian*|*ubuntu*) ;;
  *) say "expected Debian or Ubuntu, got ${PRETTY_NAME:-an unknown system}; install a Vulkan driver (Mesa 24 or newer) by hand"; exit 1 ;;
esac
[ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || { say "needs root or password-less sudo; run: sudo $0"; exit 1; }

installed=$(dpkg-query -W -f '${Status} ${Version}' mesa-vulkan-drivers 2>/dev/null || true)
case "$installed" in
  "install ok installed "*)
    if dpkg --compare-versions "${installed##* }" ge 24; then
      say "mesa-vulkan-drivers ${installed##* } is installed already"
      exit 0
    fi ;;
esac

export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq
release=()
if [ "${VERSION_CODENAME:-}" = bookworm ] && [ "${ID:-}" = debian ]; then
  if ! apt-cache madison mesa-vulkan-drivers | grep -q bookworm-backports; then
    # the mirror that this system takes bookworm itself from
    mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "bookworm" && $2 == "main" {print $3; exit}')
    [ -n "$mirror" ] || { say "no mirror of Debian bookworm is configured"; exit 1; }
    echo "deb $mirror bookworm-backports main" | as_root tee /etc/apt/sources.list.d/bookworm-backports.list >/dev/null
    as_root apt-get update -qq
  fi
  release=(-t bookworm-backports)
fi
say "installing mesa-vulkan-drivers"
as_root apt-get install -y -qq --no-install-recommends "${release[@]}" mesa-vulkan-drivers libvulkan1 >&2
