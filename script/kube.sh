#!/usr/bin/env bash
# Runs ladle below the programs of Kubernetes, as root:
#
#   script/kube.sh critest [FLAG...]       conformance tests of cri-tools, on overlayfs and
#                                          on ladle (kube/critest)
#   script/kube.sh kubelet [REGEXP]        tests with a real kubelet (kube/kubelet)
#   script/kube.sh build critest|kubelet   builds the program, and does no more
#
# The programs are built into .cache/bin (LADLE_CACHE/bin): critest takes two minutes the
# first time, kubelet ten. What runs does so in namespaces of its own: no process and no
# mount is left, and its network has the loopback interface and what it makes itself.
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

# build_kubelet builds the kubelet of kube/testdata/kubernetes/go.mod, unless it is there.
build_kubelet() {
  local version
  version=$(sed -nE 's|^\tk8s.io/kubernetes (v[0-9.]+)( // indirect)?$|\1|p' "$root/kube/testdata/kubernetes/go.mod")
  [[ -n $version ]] || die "kube/testdata/kubernetes/go.mod names no version of k8s.io/kubernetes"
  [[ $("$bin/kubelet" --version 2>/dev/null) == "Kubernetes $version" ]] && return
  echo "building kubelet $version (ten minutes)" >&2
  mkdir -p "$bin"
  CGO_ENABLED=0 go build -C "$root/kube/testdata/kubernetes" -trimpath \
    -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$bin/kubelet" k8s.io/kubernetes/cmd/kubelet
}

# build builds the program of that name.
build() {
  case $1 in
    critest) build_critest ;;
    kubelet) build_kubelet ;;
    *) die "usage: script/kube.sh build critest|kubelet" ;;
  esac
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

# inside runs a command in the namespaces, and ends with its exit code. What kubelet and
# plugins of the pods' network write to paths of their own is in memory.
inside() {
  local status=0
  # shellcheck source=script/contain.sh
  source "$root/script/contain.sh"
  mkdir -p /var/lib/kubelet /var/lib/cni /var/log/containers
  # shellcheck disable=SC2016 # the inner shell expands it
  contain unshare --net bash -c '
    for dir in /var/lib/kubelet /var/lib/cni /var/log/containers; do mount -t tmpfs tmpfs "$dir" || exit; done
    ip link set lo up && "$@"' inside "$@"
  wait "$pid" || status=$?
  exit "$status"
}

what=${1:-}
shift || true
case $what in
  build)
    build "${1:-}"
    exit
    ;;
  critest | kubelet) ;;
  *) die "usage: script/kube.sh critest|kubelet|build" ;;
esac
((EUID == 0)) || die "these tests need root: they mount filesystems and run containers"
"$root/script/components.sh"
packages
build "$what"
cd "$root"
mkdir -p "$root/.cache/bin"
if [[ $what == critest ]]; then
  go test -C kube ./critest >/dev/null
  go build -C kube -o "$root/.cache/bin/compare-critest" ./critest
  inside "$root/.cache/bin/compare-critest" "$@"
else
  go test -C kube -c -o "$root/.cache/bin/kubelet-tests" ./kubelet
  inside "$root/.cache/bin/kubelet-tests" -test.v -test.timeout=60m ${1:+-test.run "$1"}
fi
