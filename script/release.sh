#!/usr/bin/env bash
# Makes what a release consists of, in dist/: for each architecture an archive and the
# packages .deb and .rpm, then the Helm chart, and SHA256SUMS over all. The same commit and
# the same version of Go give the same bytes: times are that of the commit, owners are root.
#
#   script/release.sh [ARCH...]    amd64 and arm64, if none is named
#
# A commit without a tag v1.2.3 is of version 0.0.0-TIME-HASH; changes that are not
# committed make "-dirty" of it. Needs Go and bin/ladle
# (make build), which says what is installed; nfpm is built in .cache/bin (LADLE_CACHE/bin).
set -euo pipefail

NFPM=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.48.0

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
cache=${LADLE_CACHE:-$root/.cache}
dist=$root/dist
git=(git -c "safe.directory=$root")
umask 022

(($#)) || set -- amd64 arm64

SOURCE_DATE_EPOCH=$("${git[@]}" log -1 --format=%ct)
export SOURCE_DATE_EPOCH
version=$("${git[@]}" describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null) ||
  version=v0.0.0-$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)-$("${git[@]}" rev-parse --short=12 HEAD)
[[ -z $("${git[@]}" status --porcelain --untracked-files=no) ]] || version+=-dirty
number=${version#v}

# packed ARCHIVE DIR NAME...: a .tar.gz of names in a directory, with nothing of this machine.
packed() {
  local archive=$1 dir=$2
  shift 2
  tar --create --directory="$dir" --format=posix --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' "$@" | gzip --no-name --best >"$archive"
}

# program GOARCH FILE
program() {
  CGO_ENABLED=0 GOOS=linux GOARCH=$1 GOFLAGS='' \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=$version" -o "$2" ./cmd/snapshotter
}

# release ARCH
release() {
  local arch=$1 name=ladle-$number-linux-$1 stage=$scratch/$1 packager
  mkdir -p "$stage"
  program "$arch" "$stage/ladle"
  # What `make install` puts in place, as it is for packages.
  script/install.sh "$stage/files" /usr >/dev/null
  cp "$stage/ladle" "$stage/files/usr/bin/ladle"
  cp LICENSE CHANGELOG.md "$stage/files"
  cp -r deploy/packages "$stage"
  find "$stage/files" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
  mkdir -p "$scratch/archives/$name"
  cp "$stage/ladle" LICENSE README.md CHANGELOG.md config.toml.example "$scratch/archives/$name"
  cp -r docs "$scratch/archives/$name"
  packed "$dist/$name.tar.gz" "$scratch/archives" "$name"
  for packager in deb rpm; do
    (cd "$stage" && ARCH=$arch PACKAGE_VERSION=$number "$cache/bin/nfpm" package \
      --config packages/nfpm.yaml --packager "$packager" --target "$dist") >/dev/null
  done
}

# chart packs the Helm chart, of which the versions are those of the release.
chart() {
  cp -r deploy/helm/ladle "$scratch/ladle"
  sed -i -E "s/^(version|appVersion): .*/\1: $number/" "$scratch/ladle/Chart.yaml"
  packed "$dist/ladle-chart-$number.tgz" "$scratch" ladle
}

rm -rf "$dist"
mkdir -p "$dist" "$cache/bin"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
GOBIN=$cache/bin go install "$NFPM"
for arch; do release "$arch"; done
chart
(cd "$dist" && sha256sum -- * >"$scratch/SHA256SUMS" && mv "$scratch/SHA256SUMS" .)
cat "$dist/SHA256SUMS"
