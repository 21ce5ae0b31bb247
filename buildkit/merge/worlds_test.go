package merge_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/moby/buildkit/identity"
	buildkit "github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/util/leaseutil"
	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/snapshot"
)

const space = "buildkit"

// world is one snapshotter below containerd's metadata, with a way to merge.
type world struct {
	snapshots.Snapshotter
	trees *trees // of ladle
	merge func(ctx context.Context, key string, diffs []buildkit.Diff) error
}

// newWorld puts metadata over a snapshotter.
func newWorld(t *testing.T, dir string, below snapshots.Snapshotter) (snapshots.Snapshotter, *metadata.DB) {
	t.Helper()
	content, err := local.NewStore(filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(filepath.Join(dir, "meta.db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(db.Close(), below.Close()); err != nil {
			t.Error(err)
		}
	})
	mdb := metadata.NewDB(db, content, map[string]snapshots.Snapshotter{"overlayfs": below})
	if err := mdb.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return mdb.Snapshotter("overlayfs"), mdb
}

// newOracle is BuildKit's own merge over containerd's overlayfs snapshotter.
func newOracle(t *testing.T) world {
	dir := tempDir(t)
	below, err := overlay.NewSnapshotter(filepath.Join(dir, "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	sn, mdb := newWorld(t, dir, below)
	leases := leaseutil.WithNamespace(metadata.NewLeaseManager(mdb), space)
	merger := buildkit.NewMergeSnapshotter(t.Context(), buildkit.FromContainerdSnapshotter("overlayfs", sn, nil), leases)
	return world{Snapshotter: sn, merge: func(ctx context.Context, key string, diffs []buildkit.Diff) error {
		return merger.Merge(ctx, key, diffs)
	}}
}

// newLadle is ladle, asked for merges by labels. It may store equal files of
// its snapshots once, meanwhile.
func newLadle(t *testing.T, settle bool) world {
	dir := tempDir(t)
	lazy := newTrees(t)
	below, err := snapshot.New(t.Context(), snapshot.Options{
		Root: filepath.Join(dir, "e"), Layers: lazy, Trees: lazy,
		Settling: snapshot.Settling{Settle: settle, SettleAfter: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	sn, _ := newWorld(t, dir, below)
	return world{Snapshotter: sn, trees: lazy, merge: func(ctx context.Context, key string, diffs []buildkit.Diff) error {
		parent := ""
		for len(diffs) > 0 && diffs[0].Lower == parent && diffs[0].Upper != "" {
			info, err := sn.Stat(ctx, diffs[0].Upper)
			if err != nil {
				return err
			}
			if info.Parent != parent {
				break
			}
			parent, diffs = diffs[0].Upper, diffs[1:]
		}
		var pairs []merge.Keys
		for _, d := range diffs {
			pairs = append(pairs, merge.Keys(d))
		}
		active := identity.NewID()
		if _, err := sn.Prepare(ctx, active, parent, snapshots.WithLabels(merge.Labels(pairs))); err != nil {
			return err
		}
		return sn.Commit(ctx, key, active)
	}}
}

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "merge-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func inSpace(t *testing.T) context.Context {
	return namespaces.WithNamespace(t.Context(), space)
}

// commit makes a snapshot over parent with what change does to its root.
func (w world) commit(ctx context.Context, t *testing.T, key, parent string, change func(root string) error) {
	t.Helper()
	mounts, err := w.Prepare(ctx, key+"-active", parent)
	if err != nil {
		t.Fatal(err)
	}
	if err := mount.WithTempMount(ctx, mounts, change); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx, key, key+"-active"); err != nil {
		t.Fatal(err)
	}
}

// view calls use with the root of a view.
func (w world) view(ctx context.Context, t *testing.T, key string, use func(root string) error) {
	t.Helper()
	mounts, err := w.View(ctx, identity.NewID(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := mount.WithTempMount(ctx, mounts, use); err != nil {
		t.Fatal(fmt.Errorf("%v: %w", mounts, err))
	}
}
