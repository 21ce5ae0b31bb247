package ladle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/snapshot"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	bolt "go.etcd.io/bbolt"
)

// lab is a Snapshotter as a worker has it: over BuildKit's own, containerd's
// database and a snapshotter behind it.
type lab struct {
	*Snapshotter
	backend *backend
	leases  leases.Manager
}

// backend is containerd's native snapshotter. It records the labels of what it
// prepares, and may know the merge protocol and lazy layers.
type backend struct {
	snapshots.Snapshotter
	merges   bool
	lazy     []string // keys of lazy layers
	prepared []prepared
}

type prepared struct {
	parent string
	labels map[string]string
}

func (b *backend) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	var info snapshots.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return nil, err
		}
	}
	if upper := info.Labels[mergeLabel+"0.upper"]; b.merges && upper != "" {
		if !b.has(ctx, upper) {
			return nil, fmt.Errorf("upper %s: %w", upper, errdefs.ErrNotFound)
		}
	}
	b.prepared = append(b.prepared, prepared{parent, info.Labels})
	if target := info.Labels[refLabel]; slices.Contains(b.lazy, target) {
		_, err := b.Snapshotter.Prepare(ctx, key, parent, opts...)
		if err == nil {
			err = b.Commit(ctx, "lazy "+target, key, opts...)
		}
		return nil, errors.Join(err, errdefs.ErrAlreadyExists)
	}
	return b.Snapshotter.Prepare(ctx, key, parent, opts...)
}

// has reports whether a client's key is of a committed snapshot: the backend's
// ends with it.
func (b *backend) has(ctx context.Context, key string) (found bool) {
	_ = b.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		found = found || filepath.Base(info.Name) == key
		return nil
	})
	return found
}

func newLab(t *testing.T, b *backend) lab {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	b.Snapshotter, err = native.NewSnapshotter(filepath.Join(dir, "native"))
	must(err)
	content, err := local.NewStore(filepath.Join(dir, "content"))
	must(err)
	db, err := bolt.Open(filepath.Join(dir, "meta.db"), 0o600, nil)
	must(err)
	t.Cleanup(func() {
		if err := errors.Join(db.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	mdb := metadata.NewDB(db, content, map[string]snapshots.Snapshotter{"any": b})
	must(mdb.Init(t.Context()))
	manager := metadata.NewLeaseManager(mdb)
	sn := containerdsnapshot.NewSnapshotter("any", mdb.Snapshotter("any"), "buildkit", nil)
	lm := namespaced{manager}
	s := New(snapshot.NewMergeSnapshotter(t.Context(), sn, lm), lm, nil)
	return lab{s, b, lm}
}

// namespaced is a lease manager in BuildKit's namespace.
type namespaced struct{ leases.Manager }

func (n namespaced) Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error) {
	return n.Manager.Create(namespaces.WithNamespace(ctx, "buildkit"), opts...)
}

func (n namespaced) Delete(ctx context.Context, l leases.Lease, opts ...leases.DeleteOpt) error {
	return n.Manager.Delete(namespaces.WithNamespace(ctx, "buildkit"), l, opts...)
}

func (n namespaced) List(ctx context.Context, filters ...string) ([]leases.Lease, error) {
	return n.Manager.List(namespaces.WithNamespace(ctx, "buildkit"), filters...)
}

// commit makes a committed snapshot over a parent.
func (l lab) commit(t *testing.T, key, parent string) {
	t.Helper()
	err := l.Prepare(t.Context(), "active-"+key, parent)
	if err == nil {
		err = l.Commit(t.Context(), key, "active-"+key)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// last is what was prepared last.
func (l lab) last() prepared { return l.backend.prepared[len(l.backend.prepared)-1] }
