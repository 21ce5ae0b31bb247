#!/usr/bin/env bash
# Builds buildkitd and buildctl, at the version that buildkit/daemon/go.mod
# names, into .cache/bin (LADLE_CACHE/bin). The first time takes four minutes;
# says nothing and does nothing when they are there. Needs Go.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LADLE_CACHE:-$root/.cache}
bin=$cache/bin
stamp=$cache/buildkit.stamp
log=$cache/log/buildkit.log
began=$SECONDS

say() { printf '[%4ds] %s\n' "$((SECONDS - began))" "$*" >&2; }

mkdir -p "$bin" "$cache/log"
exec 9>"$cache/buildkit.lock"
flock -n 9 || { say "waiting for another run"; flock 9; }

cd "$root/buildkit/daemon"
wanted=$(cat go.mod go.sum | sha256sum; go env GOVERSION)
if [[ -x $bin/buildkitd && -x $bin/buildctl && -e $stamp && $(<"$stamp") == "$wanted" ]]; then exit 0; fi

say "building buildkitd and buildctl $(go list -m -f '{{.Version}}' github.com/moby/buildkit) (four minutes the first time)"
CGO_ENABLED=0 nice -n 10 go build -trimpath -ldflags='-s -w' -o "$bin/" tool >"$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; exit 130' INT TERM
waited=0
while kill -0 "$pid" 2>/dev/null; do
  sleep 1
  waited=$((waited + 1))
  if ((waited % 10 == 0)); then say "  ${waited} s so far"; fi
done
wait "$pid" || { tail -n 30 "$log" >&2; say "error: the build failed, log: $log"; exit 1; }
printf '%s\n' "$wanted" >"$stamp"
say "ready in $bin"
