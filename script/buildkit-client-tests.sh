#!/usr/bin/env bash
# Runs tests of BuildKit's package client as root, in BuildKit's own sandboxes
# with ladle as their containerd-stargz-grpc: those of merges and diffs, and the
# lazy ones, on both workers, first with BuildKit's own daemon and then with
# ladle-buildkitd. Prints a line per test, and at the end what was not passed and
# why; the whole output is in .cache/log/buildkit-client-tests.*.log.
#
#   script/buildkit-client-tests.sh [REGEXP of the tests' names]
#
# Environment:
#   DAEMONS        which daemons (default: buildkitd ladle-buildkitd)
#   WORKERS        regexp of BuildKit's names for workers (default: those with
#                  ladle; 'oci|containerd' is overlayfs, to compare with)
#   LADLE_BIN      the ladle to test (default: bin/ladle)
#   SNAPSHOTTER    a command that takes --address and --root, in ladle's place
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LADLE_CACHE:-$root/.cache}
run="^TestIntegration\$/${1:-^Test(Merge|Diff|StargzLazy)}/^worker=(${WORKERS:-(oci|containerd)-snapshotter-stargz})\$"
failed=0
source "$root/script/contain.sh"
mkdir -p "$cache/log"

# report DAEMON prints a line per test from the tests' output, and keeps it in the
# file results, with the last that the test said.
report() {
  local line name='' result
  local -A said=()
  while IFS= read -r line; do
    line=${line#$'\026'}
    if [[ $line =~ ^---\ (.*):\ TestIntegration/(.*)/worker=([a-z]*)[^\ ]*\ \((.*)s\)$ ]]; then
      name=${BASH_REMATCH[2]}/${BASH_REMATCH[3]}
      result=${BASH_REMATCH[1],,}
      printf '  %s  %-10s  %-55s %7s s\n' "$result" "${BASH_REMATCH[3]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[4]}"
      echo "$result $1 $name ${said[$name]:-}" >>"$scratch/results"
    elif [[ $line =~ ^===\ .*TestIntegration/(.*)/worker=([a-z]*) ]]; then
      name=${BASH_REMATCH[1]}/${BASH_REMATCH[2]}
    elif [[ $line == 'left mounted: '* ]]; then
      echo "$line"
    elif [[ -n $name && ${said[$name]:-} == *'unexpected error:' ]]; then
      said[$name]=${line##*$'\t'}
    elif [[ -n $name && $line =~ _test\.go:[0-9]+:\ (.+)|Error:\ +(.+) ]]; then
      said[$name]=${BASH_REMATCH[1]}${BASH_REMATCH[2]}
    fi
  done
}

# sandboxes PROGRAM LOG starts all tests, with that buildkitd.
sandboxes() {
  # shellcheck disable=SC2016 # the inner shell expands
  contain env DAEMON="$1" TMPDIR="$scratch/tmp" PATH="$scratch/bin:$PATH" \
    BUILDKIT_INTEGRATION_SNAPSHOTTER=stargz BUILDKIT_REGISTRY_MIRROR_DIR="$scratch/mirror" sh -c '
      "$@" || exit 1
      ! grep " $TMPDIR/" /proc/self/mountinfo | sed "s/^/left mounted: /" | grep .
    ' sh "$scratch/client.test" -test.v=test2json -test.timeout=2h -test.run="$run" >"$2" 2>&1
}

"$root/script/components.sh"
"$root/script/buildkit.sh"
"$root/script/buildkit-sandbox.sh" "$scratch"
for daemon in ${DAEMONS:-buildkitd ladle-buildkitd}; do
  echo "$daemon:"
  log=$scratch/$daemon.log
  program=$cache/bin/buildkitd
  [[ $daemon == buildkitd ]] || program=$root/bin/ladle-buildkitd
  : >"$log"
  sandboxes "$program" "$log"
  tail -n +1 -f --pid="$pid" "$log" | report "$daemon" &
  wait "$pid" || failed=1
  wait
  cp "$log" "$cache/log/buildkit-client-tests.$daemon.log"
done
[[ -s $scratch/results ]] || { echo "error: there is no such test" >&2; exit 1; }
echo "passed: $(grep -c '^pass' "$scratch/results"), not passed:"
grep -v '^pass' "$scratch/results" || echo "  none"
((failed == 0)) || echo "failed; what the tests and daemons said is in $cache/log/buildkit-client-tests.*.log"
exit "$failed"
