#!/usr/bin/env bash
# Runs the tests of BuildKit's package snapshot with ladle in the place of
# containerd's overlayfs, as root: once with BuildKit's own merges, once with
# those that ladle makes. The package is copied to a scratch directory and a file
# is added there; nothing of BuildKit is in the repository.
#
# With merges of ladle, TestHardlinks and TestUsage are left out: they count the
# hard links and directories of BuildKit's own merges, and a stack has none.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ladle=${LADLE_BIN:-$root/bin/ladle}
source "$root/script/contain.sh"

mkdir -p "$scratch"/{module/snapshot,root,tmp}
cd "$root/buildkit/daemon"
upstream=$(go mod download -json github.com/moby/buildkit@"$(go list -m -f '{{.Version}}' github.com/moby/buildkit)" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
testify=$(sed -n 's|^\tgithub.com/stretchr/testify \(v[^ ]*\)$|\1|p' "$upstream/go.mod")
libcap=$(sed -n 's|^\tkernel.org/pub/linux/libs/security/libcap/cap \(v[^ ]*\)$|\1|p' "$upstream/go.mod")
cp -r go.mod go.sum ladle "$scratch/module"
rm -f "$scratch"/module/ladle/*_test.go
cp "$upstream"/snapshot/*.go "$scratch/module/snapshot"
chmod -R u+w "$scratch/module"
cd "$scratch/module"
sed -i 's|overlay\.NewSnapshotter(filepath\.Join(tmpdir, "snapshots"))|onLadle(t)|; /plugins\/snapshots\/overlay"$/d' snapshot/snapshotter_test.go
sed -i 's|^func (sn \*mergeSnapshotter) Merge(|func (sn *mergeSnapshotter) mergeByItself(|' snapshot/merge.go
grep -q onLadle snapshot/snapshotter_test.go && grep -q mergeByItself snapshot/merge.go || { echo "error: BuildKit's tests have changed" >&2; exit 1; }
cat >snapshot/ladle.go <<'GO'
package snapshot

import (
	"context"
	"os"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/ladle-dev/ladle/buildkit/daemon/ladle"
	"github.com/moby/buildkit/snapshot"
)

func (sn *mergeSnapshotter) Merge(ctx context.Context, key string, diffs []Diff, opts ...snapshots.Opt) error {
	if os.Getenv("LADLE_MERGES") == "" || sn.Name() != "overlayfs" {
		return sn.mergeByItself(ctx, key, diffs, opts...)
	}
	var pairs []snapshot.Diff
	for _, d := range diffs {
		pairs = append(pairs, snapshot.Diff(d))
	}
	return ladle.New(snapshot.NewMergeSnapshotter(ctx, sn.Snapshotter, sn.lm), sn.lm, nil).Merge(ctx, key, pairs, opts...)
}
GO
cat >snapshot/ladle_test.go <<'GO'
package snapshot

import (
	"os"
	"testing"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func onLadle(t *testing.T) (snapshots.Snapshotter, error) {
	conn, err := grpc.NewClient("unix://"+os.Getenv("LADLE_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return proxy.NewSnapshotter(api.NewSnapshotsClient(conn), "ladle"), nil
}
GO
go mod edit -require "github.com/stretchr/testify@$testify" -require "kernel.org/pub/linux/libs/security/libcap/cap@$libcap"
CGO_ENABLED=0 go test -mod=mod -trimpath -c -o "$scratch/snapshot.test" ./snapshot

: >"$scratch/config.toml"
run() {
  local status=0
  "$scratch/snapshot.test" -test.v -test.run "$1" >"$scratch/tests.log" 2>&1 || status=$?
  if ((status)); then cat "$scratch/tests.log"; else grep -E '^ *--- ' "$scratch/tests.log"; fi
  return "$status"
}
inside() {
  local daemon failed=0 i
  "$ladle" serve --address "$scratch/ladle.sock" --root "$scratch/root" --config "$scratch/config.toml" >"$scratch/ladle.log" 2>&1 &
  daemon=$!
  for ((i = 0; i < 100; i++)); do [[ -S $scratch/ladle.sock ]] && break; sleep 0.1; done
  echo "BuildKit's merges:"
  run '^(TestMerge|TestHardlinks|TestMergeFileCapabilities|TestUsage)$/^overlayfs$' || failed=1
  echo "ladle's merges:"
  LADLE_MERGES=1 run '^(TestMerge|TestMergeFileCapabilities)$/^overlayfs$' || failed=1
  if ((failed)); then tail -n 20 "$scratch/ladle.log"; fi
  kill "$daemon" && wait "$daemon"
  return "$failed"
}
export -f run inside
export scratch ladle LADLE_ADDRESS="$scratch/ladle.sock" TMPDIR="$scratch/tmp"
contain bash -c inside
wait "$pid"
