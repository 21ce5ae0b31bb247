package ladle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/contenthash"
	cachemetadata "github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/util/leaseutil"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// newCache is BuildKit's cache over containerd's native snapshotter.
func newCache(t *testing.T) cache.Manager {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	backend, err := native.NewSnapshotter(filepath.Join(dir, "native"))
	must(err)
	content, err := local.NewStore(filepath.Join(dir, "content"))
	must(err)
	db, err := bolt.Open(filepath.Join(dir, "meta.db"), 0o600, nil)
	must(err)
	mdb := metadata.NewDB(db, content, map[string]snapshots.Snapshotter{"native": backend})
	must(mdb.Init(t.Context()))
	md, err := cachemetadata.NewStore(filepath.Join(dir, "cache.db"))
	must(err)
	c := containerdsnapshot.NewContentStore(mdb.ContentStore(), "buildkit")
	m, err := cache.NewManager(cache.ManagerOpt{
		Snapshotter:    containerdsnapshot.NewSnapshotter("native", mdb.Snapshotter("native"), "buildkit", nil),
		MetadataStore:  md,
		ContentStore:   c,
		LeaseManager:   leaseutil.WithNamespace(metadata.NewLeaseManager(mdb), "buildkit"),
		GarbageCollect: mdb.GarbageCollect,
		Applier:        apply.NewFileSystemApplier(c),
		Differ:         walking.NewWalkingDiff(c),
		MountPoolRoot:  filepath.Join(dir, "mounts"),
	})
	must(err)
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), md.Close(), db.Close(), backend.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// fill makes a reference with many files and something of everything else.
func fill(t *testing.T, m cache.Manager) cache.ImmutableRef {
	t.Helper()
	ref, err := m.New(t.Context(), nil, nil, cache.CachePolicyRetain)
	if err != nil {
		t.Fatal(err)
	}
	mountable, err := ref.Mount(t.Context(), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	mounter := snapshot.LocalMounter(mountable)
	root, err := mounter.Mount()
	if err != nil {
		t.Fatal(err)
	}
	var errs error
	put := func(path, text string) {
		path = filepath.Join(root, path)
		errs = errors.Join(errs, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o640),
			os.Chtimes(path, longAgo, longAgo), os.Chtimes(filepath.Dir(path), longAgo, longAgo))
	}
	for i := range manyFiles + 100 {
		put(fmt.Sprintf("out/%d/%d", i%7, i), strings.Repeat("x", i%97)+fmt.Sprint(i))
	}
	put("other/file", "other")
	put("out/empty", "")
	errs = errors.Join(errs, os.Symlink("0/0", filepath.Join(root, "out/link")), os.Symlink("out", filepath.Join(root, "to")),
		os.Symlink("/nowhere", filepath.Join(root, "out/dangling")), unix.Mkfifo(filepath.Join(root, "out/pipe"), 0o600),
		os.Link(filepath.Join(root, "out/0/7"), filepath.Join(root, "out/linked")),
		unix.Setxattr(filepath.Join(root, "out/1/1"), "user.some", []byte("value"), 0),
		os.Chmod(filepath.Join(root, "out/2/2"), 0o4755), os.Chmod(root, 0o750), mounter.Unmount())
	if errs != nil {
		t.Fatal(errs)
	}
	made, err := ref.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Finalize(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := made.Release(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return made
}

// The keys of BuildKit's cache do not depend on the origin of the digests.
func TestDigests(t *testing.T) {
	m := newCache(t)
	plain := contenthash.ChecksumOpts{FollowLinks: true}
	asked := map[string]contenthash.ChecksumOpts{
		"/": plain, "/out": plain, "/out/0": plain, "/to": plain, "/other": plain, "/other/file": plain, "/out/link": plain,
		"/o*": {Wildcard: true, FollowLinks: true}, "/out/*/1*": {Wildcard: true, FollowLinks: true},
		"/out/1": {IncludePatterns: []string{"**/1*"}},
	}
	ref := fill(t, m)
	want := map[string]string{}
	for path, opts := range asked {
		sum, err := contenthash.Checksum(t.Context(), ref, path, opts, nil)
		if err != nil {
			t.Fatal(path, err)
		}
		want[path] = sum.String()
	}
	for _, first := range []string{"/out", "/to", "/"} {
		// Forgotten: what the cache has in memory, and on disk.
		contenthash.ClearCacheContext(ref)
		other := forgetful{ref}
		if err := Digests(t.Context(), other, first, nil); err != nil {
			t.Fatal(err)
		}
		if !has(t, other) {
			t.Errorf("the cache has no digests of %s", first)
		}
		for path, opts := range asked {
			sum, err := contenthash.Checksum(t.Context(), other, path, opts, nil)
			if err != nil || sum.String() != want[path] {
				t.Errorf("%s after digests of %s: %s, %v, want %s", path, first, sum, err, want[path])
			}
		}
	}
	if err := Digests(t.Context(), forgetful{ref}, "/none", nil); err != nil {
		t.Errorf("digests of what is not there: %v", err)
	}
}

// forgetful is a reference of which the cache has kept nothing on disk.
type forgetful struct{ cache.ImmutableRef }

func (forgetful) GetExternal(string) ([]byte, error) { return nil, os.ErrNotExist }

// has reports whether the cache knows the digests of a reference, by asking it
// for one of a file that it cannot read.
func has(t *testing.T, ref cache.ImmutableRef) bool {
	t.Helper()
	names, err := contenthash.GetCacheContext(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	_, err = names.Checksum(t.Context(), unmountable{}, "/out/0/0", contenthash.ChecksumOpts{}, nil)
	return err == nil
}

// unmountable is a reference that cannot be read.
type unmountable struct{ cache.Mountable }

func (unmountable) Mount(context.Context, bool, session.Group) (snapshot.Mountable, error) {
	return nil, errors.New("it cannot be mounted")
}

var longAgo = time.Unix(1_700_000_000, 123_456_789)
