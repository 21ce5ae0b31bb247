#!/usr/bin/env bash
# Runs docker buildx on ladle as docs/buildkit.md says, as root. It builds buildx
# at the version below into .cache/bin (LADLE_CACHE/bin), which takes a few
# minutes the first time: hence these tests are not among those of `make test`.
# Needs Go, and no Docker: buildx is its own program.
set -euo pipefail

BUILDX_VERSION=v0.38.2 # of the time of BuildKit v0.34

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
buildx=${LADLE_CACHE:-$root/.cache}/bin/buildx

"$root/script/components.sh"
if [[ $("$buildx" version 2>/dev/null) != *" $BUILDX_VERSION "* ]]; then
  echo "building buildx $BUILDX_VERSION (a few minutes)" >&2
  # Not `go install`: buildx's go.mod has exclude directives.
  source=$(cd / && GOWORK=off go mod download -json "github.com/docker/buildx@$BUILDX_VERSION" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
  CGO_ENABLED=0 go build -C "$source" -mod=readonly -trimpath \
    -ldflags "-s -w -X github.com/docker/buildx/version.Version=$BUILDX_VERSION" -o "$buildx" ./cmd/buildx
fi
cd "$root/buildkit"
go vet -tags buildx ./e2e
exec go test -count=1 -tags buildx -run 'Buildx' "$@" ./e2e
