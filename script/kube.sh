#!/usr/bin/env bash
# Runs ladle below the programs of Kubernetes, as root:
#
#   script/kube.sh critest [FLAG...]       conformance tests of cri-tools, on overlayfs and
#                                          on ladle (kube/critest)
#
# critest is built into .cache/bin (LADLE_CACHE/bin), which takes two minutes the first
# time. What runs does so in namespaces of its own: no process and no mount is left, and its
# network has the loopback interface and what it makes itself.
set -euo pipefail

CRI_TOOLS_VERSION=v1.37.0

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${LADLE_CACHE:-$root/.cache}/bin

die() { echo "error: $*" >&2; exit 1; }

# build_critest builds critest, which is the test of a package: go install does not.
build_critest() {
  local source
  [[ $("$bin/critest" -version 2>/dev/null) == *"$CRI_TOOLS_VERSION"* ]] && return
  echo "building critest $CRI_TOOLS_VERSION (two minutes)" >&2
  source=$(cd / && GOWORK=off go mod download -json "sigs.k8s.io/cri-tools@$CRI_TOOLS_VERSION" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
  mkdir -p "$bin"
  CGO_ENABLED=0 go test -C "$source" -c -mod=readonly -trimpath \
    -ldflags "-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=$CRI_TOOLS_VERSION" -o "$bin/critest" ./cmd/critest
}

# packages installs what only these tests need.
packages() {
  local missing=() package
  for package in containernetworking-plugins iproute2 iptables; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  apt-get -o DPkg::Lock::Timeout=600 update -qq
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# inside runs a command in the namespaces, and ends with its exit code. What plugins of
# the pods' network write to paths of their own is in memory.
inside() {
  local status=0
  # shellcheck source=script/contain.sh
  source "$root/script/contain.sh"
  mkdir -p /var/lib/cni
  # shellcheck disable=SC2016 # the inner shell expands it
  contain unshare --net bash -c 'mount -t tmpfs tmpfs /var/lib/cni && ip link set lo up && "$@"' inside "$@"
  wait "$pid" || status=$?
  exit "$status"
}

[[ ${1:-} == critest ]] || die "usage: script/kube.sh critest [FLAG...]"
shift
((EUID == 0)) || die "these tests need root: they mount filesystems and run containers"
"$root/script/components.sh"
packages
build_critest
cd "$root"
mkdir -p "$root/.cache/bin"
go test -C kube ./critest >/dev/null
go build -C kube -o "$root/.cache/bin/compare-critest" ./critest
inside "$root/.cache/bin/compare-critest" "$@"
