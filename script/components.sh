#!/usr/bin/env bash
# Installs the real components that the tests, the demo and the benchmarks run:
# the packages of packages.sh by apt, containerd and the registry by `go install` at
# the versions below. Safe to run again; says nothing when all is in place.
#
#   script/components.sh            all of them
#   script/components.sh packages   the packages alone: the main module's tests need no more
#   script/components.sh demo       for the demo: a few packages (demo-packages: these
#                                   alone), and containerd, unless one is installed that
#                                   is new enough
#
# Environment:
#   LADLE_CACHE   where everything is kept (default: .cache in the repository);
#                 programs end up in $LADLE_CACHE/bin, those of the long-term
#                 release of containerd in $LADLE_CACHE/containerd-2.3
#
# Needs: Debian or Ubuntu, root (only if packages are missing), Go.
set -euo pipefail

CONTAINERD_VERSION=v2.4.2
CONTAINERD_LTS_VERSION=v2.3.7
REGISTRY_VERSION=v3.1.2
# The oldest release of containerd in docs/install.md of each branch, the newest first.
CONTAINERD_OLDEST=(2.4.2 2.3.7)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/script/packages.sh"
cache=${LADLE_CACHE:-$root/.cache}
bin=$cache/bin
log=$cache/log
began=$SECONDS

say() { printf '[%4ds] %s\n' "$((SECONDS - began))" "$*" >&2; }
die() { say "error: $*"; exit 1; }

# run NAME COMMAND...: output goes to a log file, a line of progress every 10 s.
run() {
  local name=$1 file=$log/$1.log waited=0 pid
  shift
  "$@" >"$file" 2>&1 &
  pid=$!
  trap 'kill "$pid" 2>/dev/null || true; exit 130' INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    waited=$((waited + 1))
    if ((waited % 10 == 0)); then say "  $name: ${waited} s so far"; fi
  done
  trap - INT TERM
  wait "$pid" || { tail -n 30 "$file" >&2; die "$name failed, log: $file"; }
}

# missing_packages PACKAGE...
missing_packages() {
  local p
  for p; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || echo "$p"
  done
}

# install_packages PACKAGE...
install_packages() {
  local want
  mapfile -t want < <(missing_packages "$@")
  ((${#want[@]})) || return 0
  ((EUID == 0)) || die "root is needed to install: ${want[*]}"
  say "installing packages: ${want[*]}"
  export DEBIAN_FRONTEND=noninteractive
  run apt-update apt-get -o DPkg::Lock::Timeout=600 update
  run apt-install apt-get -o DPkg::Lock::Timeout=600 install --yes --no-install-recommends "${want[@]}"
}

# has PROGRAM MODULE VERSION: the program was built from that module version.
has() {
  [[ -x $bin/$1 ]] && go version -m "$bin/$1" 2>/dev/null | grep -qP "^\tmod\t\Q$2\E\t\Q$3\E(\t|$)"
}

# build MODULE VERSION PROGRAM...: go install what is not there yet.
build() {
  local module=$1 version=$2 program want=() names=()
  shift 2
  for program; do
    has "$program" "$module" "$version" && continue
    want+=("$module/cmd/$program@$version")
    names+=("$program")
  done
  ((${#want[@]})) || return 0
  say "building ${names[*]} $version (a few minutes the first time)"
  run "build-${names[0]}-$version" env GOBIN="$bin" go install "${want[@]}"
}

# version_of PROGRAM: what a containerd says of itself.
version_of() { "$1" --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1; }

# at_least VERSION OTHER: VERSION is OTHER or later.
at_least() { printf '%s\n%s\n' "$2" "$1" | sort --check=quiet --version-sort; }

# new_enough VERSION: this release of containerd is one of CONTAINERD_OLDEST, or a later
# one of its branch, or of a later branch than the newest of them.
new_enough() {
  local oldest
  at_least "$1" "${CONTAINERD_OLDEST[0]}" && return
  for oldest in "${CONTAINERD_OLDEST[@]:1}"; do
    [[ $1 == "${oldest%.*}".* ]] && at_least "$1" "$oldest" && return
  done
  return 1
}

# unpack_containerd takes the programs of containerd's package, if it is new enough, and
# does not install it, which would start a daemon.
unpack_containerd() {
  local dir status=0
  new_enough "$(apt-cache policy containerd | sed -nE 's/^ *Candidate: ([0-9.]+).*/\1/p')" || return
  dir=$(mktemp -d "$cache/package-XXXXXX")
  (cd "$dir" && apt-get download containerd && dpkg-deb --extract containerd_*.deb . &&
    usr/bin/containerd --version && install usr/bin/{containerd,containerd-shim-runc-v2,ctr} "$bin") \
    >"$log/unpack-containerd.log" 2>&1 || status=$?
  rm -rf "$dir"
  return "$status"
}

# demo_containerd sees to a containerd for the demo, which runs the one in $bin, or else
# the one in PATH.
demo_containerd() {
  if [[ -x $bin/containerd ]]; then
    new_enough "$(version_of "$bin/containerd")" && return
  elif command -v ctr >/dev/null && command -v containerd-shim-runc-v2 >/dev/null; then
    new_enough "$(version_of containerd)" && return
  fi
  unpack_containerd ||
    build github.com/containerd/containerd/v2 "$CONTAINERD_VERSION" containerd ctr containerd-shim-runc-v2
}

command -v apt-get >/dev/null || die "this script knows Debian and Ubuntu only"
command -v go >/dev/null || die "Go is not in PATH (see https://go.dev/doc/install)"
mkdir -p "$bin" "$log"
exec 9>"$cache/components.lock"
flock -n 9 || { say "waiting for another run"; flock 9; }

case ${1:-all} in
  packages) install_packages "${PACKAGES[@]}" ;;
  demo-packages) install_packages "${DEMO_PACKAGES[@]}" ;;
  demo)
    install_packages "${DEMO_PACKAGES[@]}"
    demo_containerd
    ;;
  all)
    install_packages "${PACKAGES[@]}"
    build github.com/containerd/containerd/v2 "$CONTAINERD_VERSION" containerd ctr containerd-shim-runc-v2
    bin=$cache/containerd-2.3 build github.com/containerd/containerd/v2 "$CONTAINERD_LTS_VERSION" containerd ctr containerd-shim-runc-v2
    build github.com/distribution/distribution/v3 "$REGISTRY_VERSION" registry
    ;;
  *) die "usage: script/components.sh [packages|demo|demo-packages]" ;;
esac
if ((SECONDS - began > 2)); then say "components ready in $bin"; fi
