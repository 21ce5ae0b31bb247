#!/usr/bin/env bash
# The part of .ci/run that comes when all components are there: it builds BuildKit
# and images for the tests, lints, and makes what it is told to.
#
#   script/ci.sh TARGET...    targets of make, one after the other
#
# It ends with a table of what took how long, and the last line of the last target:
# of test, "N passed, N failed, N skipped".
#
# What only compiles runs beside the tests, in the processor time that they leave
# (SCHED_IDLE, sched(7)): the tests of the daemon's module wait for timeouts, disks and
# the kernel for most of their time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# timed NAME COMMAND... runs it, and adds a line to the table.
timed() {
  local name=$1 began=$SECONDS status=0
  shift
  "$@" || status=$?
  printf '%7ds  %s\n' "$((SECONDS - began))" "$name" >>"$scratch/table"
  return "$status"
}

# images makes the images that take long to make.
# shellcheck disable=SC2317 # timed calls it
images() {
  local format
  go build -C test -o "$scratch/image" ./cmd/image || return
  for format in estargz zstdchunked estargz-prefetch estargz-external-toc; do
    "$scratch/image" build -format "$format" debian-python || return
  done
  "$scratch/image" build -format estargz hostile-wide hostile &&
    "$scratch/image" build -format zstdchunked hostile
}

# compile is what runs beside the tests, in the order in which it is wanted.
compile() {
  timed 'BuildKit (beside the tests)' script/buildkit.sh
  timed 'images (beside the tests)' images
  timed 'oldest BuildKit (beside the tests)' script/buildkit.sh oldest
  timed 'lint (beside the tests)' make lint
}

# held prints all lines but the last one, which goes to a file.
held() {
  local line last
  IFS= read -r last || return 0
  while IFS= read -r line; do
    printf '%s\n' "$last"
    last=$line
  done
  printf '%s\n' "$last" >"$scratch/last"
}

# targets makes all targets, also after one that fails.
targets() {
  local target failed=0
  for target; do
    timed "$target" make "$target" || failed=1
  done
  return "$failed"
}

case ${1:-} in
  '') echo "usage: script/ci.sh TARGET..." >&2; exit 2 ;;
  --beside)
    scratch=$2
    compile
    exit
    ;;
esac
scratch=$(mktemp -d)
trap 'kill -- "-$beside" 2>/dev/null || true; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
setsid chrt --idle 0 script/ci.sh --beside "$scratch" >"$scratch/log" 2>&1 &
beside=$!
status=0
targets "$@" | held || status=1
wait "$beside" || { status=1; cat "$scratch/log"; }
tail -n 1 "$scratch/log"
printf '\ntook:\n'
if [[ -n ${CI_COMPONENTS:-} ]]; then printf '%7ds  components\n' "$CI_COMPONENTS"; fi
cat "$scratch/table"
if [[ -e $scratch/last ]]; then cat "$scratch/last"; fi
exit "$status"
