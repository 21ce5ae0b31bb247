#!/usr/bin/env bash
# Runs every test of every module but kube; arguments go to `go test`.
#
# The tests mount filesystems and run containers, so root and FUSE must be
# there: without them this fails, it does not skip. A test that skips is listed
# at the end with its reason. With CI in the environment, a test that skips for
# want of root, FUSE, a kernel feature or a component has failed, and before all the
# short tests of the packages with most goroutines run with the race detector.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/modules.sh"

die() { echo "error: $*" >&2; exit 1; }
((EUID == 0)) || die "the tests need root: they mount filesystems and run containers"
[[ -c /dev/fuse ]] || modprobe fuse 2>/dev/null || true
[[ -c /dev/fuse ]] || die "there is no /dev/fuse"

script/components.sh
options=()
if [[ -n ${CI:-} ]]; then
  options=(-race "${race_packages[*]}" -noskip '(?i)root|fuse|erofs|loop|overlay|mount|kernel|containerd|runc|registry|systemd|component|not installed|not found')
fi
mkdir -p .cache/bin
go build -o .cache/bin/testsum ./internal/testsum

# The module of the daemon has tests with times of milliseconds, and others that
# count what the kernel asks for: these run alone, and so does what is short. Those
# of test and buildkit wait for daemons, builds and links for much of their time.
steps=() beside=()
for module in "${modules[@]}"; do
  case $module in
    ./kube) ;; # its tests need Kubernetes: make critest, make kubelet-tests
    ./buildkit | ./test) beside+=("$module") ;;
    *) steps+=("$module") ;;
  esac
done
# One package of a module at a time: they share two cores and loop devices.
exec .cache/bin/testsum "${options[@]}" "${steps[@]}" "$(IFS=+ && echo "${beside[*]}")" -- -p=1 -timeout=40m "$@"
