#!/usr/bin/env bash
# Runs every test of every module; arguments go to `go test`.
#
# The tests mount filesystems and run containers, so root and FUSE must be
# there: without them this fails, it does not skip. A test that skips is listed
# at the end with its reason. With CI in the environment, a test that skips for
# want of root, FUSE, a kernel feature or a component has failed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/modules.sh"

die() { echo "error: $*" >&2; exit 1; }
((EUID == 0)) || die "the tests need root: they mount filesystems and run containers"
[[ -c /dev/fuse ]] || modprobe fuse 2>/dev/null || true
[[ -c /dev/fuse ]] || die "there is no /dev/fuse"

script/components.sh
noskip=()
if [[ -n ${CI:-} ]]; then
  noskip=(-noskip '(?i)root|fuse|erofs|loop|overlay|mount|kernel|containerd|runc|registry|systemd|component|not installed|not found')
fi
mkdir -p .cache/bin
go build -o .cache/bin/testsum ./internal/testsum
# One package at a time: they share two cores, loop devices and page cache.
exec .cache/bin/testsum "${noskip[@]}" "${modules[@]}" -- -p=1 -timeout=40m "$@"
