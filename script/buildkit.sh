#!/usr/bin/env bash
# Builds BuildKit at the version that buildkit/daemon/go.mod names: buildkitd and
# buildctl into .cache/bin (LADLE_CACHE/bin), and bin/ladle-buildkitd, which is
# the same buildkitd with the files of buildkit/daemon/_buildkitd added to its
# command, and buildkit/daemon/_cache to its package cache: one file, and a patch of
# a few lines that call it. The build fails if the patch does not apply. The first
# time takes four minutes; says nothing and does nothing when all is there. Needs Go
# and patch.
#
#   script/buildkit.sh           these three programs
#   script/buildkit.sh oldest    for tests, buildkitd of the release that
#                                buildkit/oldest/go.mod names, as buildkitd-oldest
#
# All that is added and patched is an overlay of the Go tool, which refuses one
# below its module cache; hence BuildKit is vendored, in .cache/buildkitd.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LADLE_CACHE:-$root/.cache}
bin=$cache/bin
source=$cache/buildkitd
began=$SECONDS
buildkit=github.com/moby/buildkit
command=$buildkit/cmd/buildkitd
case "$*" in
  '') name=buildkit module=daemon build=build_newest programs=("$bin/buildkitd" "$bin/buildctl" "$root/bin/ladle-buildkitd") ;;
  oldest) name=buildkit-oldest module=oldest build=build_oldest programs=("$bin/buildkitd-oldest") ;;
  *) echo "usage: script/buildkit.sh [oldest]" >&2; exit 2 ;;
esac
stamp=$cache/$name.stamp
log=$cache/log/$name.log

say() { printf '[%4ds] %s\n' "$((SECONDS - began))" "$*" >&2; }

# ready: the programs are there, made of what is there now.
ready() {
  local program
  for program in "${programs[@]}"; do [[ -x $program ]] || return 1; done
  [[ -e $stamp && $(<"$stamp") == "$wanted" ]]
}

# vendor copies this module, and BuildKit with all it needs, into $source.
vendor() {
  local modules
  modules=$(sha256sum go.mod go.sum)
  [[ -e $source/modules && $(<"$source/modules") == "$modules" ]] || rm -rf "$source"
  mkdir -p "$source"
  find "$source" -mindepth 1 -maxdepth 1 -not -name vendor -not -name modules -exec rm -rf {} +
  cp -r . "$source"
  [[ -e $source/modules ]] || (cd "$source" && go mod vendor)
  printf '%s\n' "$modules" >"$source/modules"
}

# overlay: what is to be read in the place of which file of the vendored BuildKit,
# one "PLACE": "FILE" a line. Patched files are copies.
overlay() {
  local file patched=$source/_patched
  for file in _buildkitd/*.go; do printf '"%s": "%s"\n' "$source/vendor/$command/${file##*/}" "$source/$file"; done
  for file in _cache/*.go; do printf '"%s": "%s"\n' "$source/vendor/$buildkit/cache/${file##*/}" "$source/$file"; done
  for file in $(sed -n 's|^+++ b/||p' _cache/lazy.patch); do
    install -D -m 644 "vendor/$buildkit/$file" "$patched/$file"
    printf '"%s": "%s"\n' "$source/vendor/$buildkit/$file" "$patched/$file"
  done
  patch --quiet --fuzz=0 --strip=1 --directory="$patched" <_cache/lazy.patch >&2
}

build_newest() {
  local version
  version=$(go list -m -f '{{.Version}}' github.com/moby/buildkit)
  vendor
  cd "$source"
  overlay >overlay.list
  paste -sd, overlay.list | sed 's/.*/{"Replace": {&}}/' >overlay.json
  export CGO_ENABLED=0
  go build -trimpath -mod=vendor -ldflags="-s -w" -o "$bin/" tool ./...
  go vet -trimpath -mod=vendor -overlay=overlay.json "$command" "$buildkit/cache"
  go build -trimpath -mod=vendor -overlay=overlay.json -ldflags="-s -w -X github.com/moby/buildkit/version.Version=$version+ladle" \
    -o "$root/bin/ladle-buildkitd" "$command"
}

build_oldest() { CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$bin/buildkitd-oldest" "$command"; }

mkdir -p "$bin" "$cache/log" "$root/bin"
exec 9>"$cache/buildkit.lock"
flock -n 9 || { say "waiting for another run"; flock 9; }

cd "$root/buildkit/$module"
wanted=$(find . \( -name '*.go' -o -name '*.patch' \) -not -name '*_test.go' -print0 | sort -z | xargs -0 cat go.mod go.sum "$root/script/buildkit.sh" | sha256sum; go env GOVERSION)
if ready; then exit 0; fi

say "building ${programs[*]##*/} (four minutes the first time)"
"$build" >"$log" 2>&1 &
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
say "ready: ${programs[*]}"
