#!/usr/bin/env bash
# script/buildkit-sandbox.sh DIR puts into a directory what the tests of BuildKit's
# package client need: the tests themselves (client.test), the programs that their
# sandboxes start (bin), and a registry's store with the images that they name
# (mirror). Needs what components.sh and buildkit.sh build.
#
# The tests are compiled from the module cache. What they name are test images
# (test/image) here.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LADLE_CACHE:-$root/.cache}
dir=$1
package=github.com/moby/buildkit/client
registry=
trap 'if [[ -n $registry ]]; then kill "$registry"; fi' EXIT
mkdir -p "$dir"/{bin,mirror,module,tmp}
chmod 711 "$dir" "$dir/tmp"

compile() {
  cd "$dir/module"
  cp "$root"/buildkit/daemon/go.{mod,sum} .
  chmod u+w ./*
  CGO_ENABLED=0 go test -mod=mod -trimpath -c -o "$dir/client.test" "$package"
  source=$(go list -mod=mod -f '{{.Dir}}' "$package")/client_test.go
}

# images lists what the tests want in the mirror.
images() {
  sed -n 's/.*mirroredImagesUnix := .*OfficialImages(\(.*\))$/\1/p' "$source" | grep -o '[a-z0-9]*:[a-z0-9]*' | sed 's|^|library/|'
  sed -n 's/.*mirroredImagesUnix\["\([^"]*\)"\] = .*/\1/p' "$source"
}

# mirror puts two images that share no layer under all names: the tests look
# which layers are pulled.
mirror() {
  local config=$dir/mirror/config.yaml address name recipe
  printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:0"}\n' "$dir/mirror/data" >"$config"
  "$cache/bin/registry" serve "$config" >"$dir/mirror.log" 2>&1 &
  registry=$!
  until address=$(grep -o -m1 '127\.0\.0\.1:[1-9][0-9]*' "$dir/mirror.log"); do kill -0 "$registry" && sleep 0.1; done
  cd "$root/test"
  go build -o "$dir/image" ./cmd/image
  for name in $(images); do
    recipe=shell
    [[ $name != library/busybox:* ]] || recipe=busybox
    "$dir/image" push -format gzip "$recipe" "$address/$name"
  done
}

# programs: a ladle below an OCI worker is started by the sandbox's buildkitd, for
# BuildKit's sandboxes have none there.
programs() {
  ln -s "$cache"/bin/{containerd,containerd-shim-runc-v2,registry,buildctl} "$dir/bin"
  : >"$dir/config.toml"
  cat >"$dir/bin/containerd-stargz-grpc" <<SH
#!/bin/sh
if [ -n "\${SNAPSHOTTER:-}" ]; then shift 2; exec \$SNAPSHOTTER "\$@"; fi
exec '${LADLE_BIN:-$root/bin/ladle}' serve --config '$dir/config.toml' "\$@"
SH
  cat >"$dir/bin/buildkitd" <<'SH'
#!/bin/sh
case "$*" in *--oci-worker-snapshotter=*) ;; *) exec "$DAEMON" "$@" ;; esac
dir=$(mktemp -d)
containerd-stargz-grpc --log-level debug --address "$dir/s" --root "$dir/root" &
ladle=$!
until [ -S "$dir/s" ]; do kill -0 "$ladle" && sleep 0.1 || exit 1; done
"$DAEMON" "$@" --oci-worker-proxy-snapshotter-path="$dir/s" &
daemon=$!
trap 'kill "$daemon"' TERM INT
wait "$daemon" || wait "$daemon"
kill "$ladle" && wait "$ladle"
rm -rf "$dir"
SH
  chmod +x "$dir"/bin/{containerd-stargz-grpc,buildkitd}
}

compile
mirror
programs
