package snapshot

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

func TestRemoveReleasesTrees(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	c := makeChain(t, d, s, "rr")
	d.takeCalls()
	if _, err := s.Prepare(t.Context(), "active", c.top); err != nil {
		t.Fatal(err)
	}
	owner := "ladle/" + c.id(t, "active").String()
	if err := s.Remove(t.Context(), "active"); err != nil {
		t.Fatal(err)
	}
	if got, want := d.takeCalls(), []string{"starting 2", "mount " + owner, "release " + owner}; !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	if err := s.Remove(t.Context(), "active"); !errdefs.IsNotFound(err) {
		t.Errorf("second remove: %v", err)
	}
	if err := s.Remove(t.Context(), "r0"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("remove of a parent: %v", err)
	}
	for _, name := range []string{"r1", "r0"} {
		if err := s.Remove(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

func TestRemoveDefersDeletion(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitLocal(t, s, "local", "")
	id := idOfKey(t, s, "local")
	if err := s.Remove(t.Context(), "local"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(string(s.dirs), id.String())
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("deleted at once: %v", err)
	}
	if err := s.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after cleanup: %v", err)
	}
}

// A snapshot whose trees cannot be mounted leaves nothing.
func TestPrepareOverAMissingLayer(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	c := makeChain(t, d, s, "rr")
	d.removeLayer(idOf("r0"))
	for name, make := range map[string]func(context.Context, string, string, ...snapshots.Opt) ([]mount.Mount, error){
		"prepare": s.Prepare, "view": s.View,
	} {
		_, err := make(t.Context(), name, c.top)
		if !errdefs.IsUnavailable(err) || !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v, want ErrUnavailable and the reason", name, err)
		}
		if _, err := s.Stat(t.Context(), name); !errdefs.IsNotFound(err) {
			t.Errorf("%s left a snapshot: %v", name, err)
		}
	}
	u, err := s.Usage(t.Context(), "r0")
	if err != nil || u != (snapshots.Usage{}) {
		t.Errorf("usage of a missing layer: %v, %v", u, err)
	}
}

// reopen ends s and its trees, as the end of a daemon and the next start do.
func reopen(t *testing.T, d *disk, s *Snapshotter) *Snapshotter {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d.unmount(t)
	return newEndpoint(t, d, func(o *Options) { o.Root = s.opts.Root })
}

func TestRestart(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	c := makeChain(t, d, s, "rrl")
	other := makeOther(t, d, s)
	before := map[string][]mount.Mount{}
	for key, over := range map[string]string{"a": c.top, "b": "r1", "lost": other} {
		var err error
		if before[key], err = s.Prepare(t.Context(), key, over); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if before["v"], err = s.View(t.Context(), "v", c.top); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(string(s.dirs), "new-999"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.removeLayer(idOf("other"))
	d.setOpen(func(context.Context, layer.Request) (store.ID, error) {
		t.Error("a layer was opened, which may need the network")
		return store.ID{}, layer.ErrNotLazy
	})

	s = reopen(t, d, s)
	delete(before, "lost")
	for key, want := range before {
		// The strings of an earlier answer are valid before any further call.
		if got := files(t, want); len(got) == 0 {
			t.Errorf("%s is empty", key)
		}
		got, err := s.Mounts(t.Context(), key)
		if err != nil {
			t.Error(err)
		}
		checkMounts(t, got, want...)
	}
	if got := files(t, before["a"]); !maps.Equal(got, c.files) {
		t.Errorf("after restart %v, want %v", got, c.files)
	}
	d.setOpen(nil) // has nothing that was lost
	if _, err := s.Mounts(t.Context(), "lost"); !errdefs.IsUnavailable(err) {
		t.Errorf("mounts of a snapshot without layer: %v, want ErrUnavailable", err)
	}
	for _, id := range []store.ID{idOf("r0"), idOf("r1")} {
		if !isClaimed(s, id) {
			t.Errorf("layer %v is not claimed after restart", id)
		}
	}
	if _, err := os.Stat(filepath.Join(string(s.dirs), "new-999")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftover of the last process: %v", err)
	}
	if err := s.Remove(t.Context(), "lost"); err != nil {
		t.Error(err)
	}
}

func makeOther(t *testing.T, d *disk, s *Snapshotter) string {
	return prepareRemote(t, s, "other", "", d.addLayer(t, "other", map[string]string{"f": "f"}))
}

// A client that has not heard of the end of its Commit asks again.
func TestCommitTwice(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitLocal(t, s, "a", "")
	commitMerge(t, s, "m", "", " a")
	for _, name := range []string{"a", "m"} {
		if err := s.Commit(t.Context(), name, name+"-active"); !errdefs.IsAlreadyExists(err) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Commit(t.Context(), "other", name); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("commit of %s, which is committed: %v", name, err)
		}
	}
	if err := s.Commit(t.Context(), "other", "none"); !errdefs.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}

func TestUnusableRoots(t *testing.T) {
	for name, root := range map[string]string{"colon": "/x:y", "comma": "/x,y", "none": ""} {
		if _, err := New(t.Context(), Options{Root: root, Layers: newDisk(t), Trees: newDisk(t)}); err == nil {
			t.Errorf("root with %s is accepted", name)
		}
	}
}

// Endpoints over one store keep their snapshots apart and their layers
// together.
func TestCleanupCollects(t *testing.T) {
	d := newDisk(t)
	claims := NewClaims()
	share := func(name string) func(*Options) {
		return func(o *Options) { o.Name, o.Claims, o.Drop = name, claims, d.drop }
	}
	one, two := newEndpoint(t, d, share("one")), newEndpoint(t, d, share("two"))
	shared := d.addLayer(t, "shared", map[string]string{"f": "f"})
	unused := d.addLayer(t, "unused", map[string]string{"f": "f"})
	for _, s := range []*Snapshotter{one, two} {
		prepareRemote(t, s, "target", "", shared)
	}
	has := func(when string, wantShared, wantUnused bool) {
		t.Helper()
		if d.has(shared) != wantShared || d.has(unused) != wantUnused {
			t.Errorf("%s: shared layer %t, unused layer %t", when, d.has(shared), d.has(unused))
		}
	}
	cleanup := func(s *Snapshotter) {
		t.Helper()
		if err := s.Cleanup(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cleanup(one)
	has("both use one", true, false)
	if err := one.Remove(t.Context(), "target"); err != nil {
		t.Fatal(err)
	}
	cleanup(one)
	has("the other uses one", true, false)
	if err := two.Remove(t.Context(), "target"); err != nil {
		t.Fatal(err)
	}
	cleanup(one)
	has("none uses one", false, false)
}

// TestGarbageCollection removes an image of two namespaces of one containerd.
func TestGarbageCollection(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d, func(o *Options) { o.Drop = d.drop })
	db, end, err := newMetadata(s, tempDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	}()
	client := db.Snapshotter("ladle")
	id := d.addLayer(t, "layer", map[string]string{"f": "f"})
	root := map[string]string{"containerd.io/gc.root": "1"}
	collect := func(wantSnapshots int, wantLayer bool) {
		t.Helper()
		if _, err := db.GarbageCollect(t.Context()); err != nil {
			t.Fatal(err)
		}
		infos, err := s.list(t.Context())
		if err != nil || len(infos) != wantSnapshots || d.has(id) != wantLayer {
			t.Errorf("%d snapshots (%v), layer %t, want %d, %t", len(infos), err, d.has(id), wantSnapshots, wantLayer)
		}
	}
	spaces := []string{"one", "two"}
	for _, space := range spaces {
		ctx := namespaces.WithNamespace(t.Context(), space)
		labels := lazyLabels("target", id)
		maps.Copy(labels, root)
		if _, err := client.Prepare(ctx, "extract", "", snapshots.WithLabels(labels)); !errdefs.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		mounts, err := client.Prepare(ctx, "container", "target", snapshots.WithLabels(root))
		if err != nil {
			t.Fatal(err)
		}
		if got := files(t, mounts); got["f"] != "f" {
			t.Errorf("container in %s sees %v", space, got)
		}
	}
	collect(3, true) // one remote snapshot serves both
	for i, space := range spaces {
		ctx := namespaces.WithNamespace(t.Context(), space)
		for _, key := range []string{"container", "target"} {
			if err := client.Remove(ctx, key); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			collect(2, true)
		} else {
			collect(0, false)
		}
	}
	noStrays(t, s)
}

// A layer that a Prepare is about to use is not dropped, wherever the Prepare
// is.
func TestCollectBesidePrepare(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d, func(o *Options) { o.Drop = d.drop })
	id := d.addLayer(t, "layer", map[string]string{"f": "f"})
	d.setOpen(func(context.Context, layer.Request) (store.ID, error) {
		err := s.Cleanup(t.Context())
		if !d.has(id) {
			err = errors.Join(err, errors.New("the layer was dropped while it was opened"))
		}
		return id, err
	})
	prepareRemote(t, s, "target", "", id)
}

// A Prepare does not find a layer that is about to be dropped, and can give
// up waiting.
func TestPrepareBesideCollect(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	id := d.addLayer(t, "layer", map[string]string{"f": "f"})
	prepare := func(ctx context.Context, key string) <-chan error {
		result := make(chan error, 1)
		go func() {
			_, err := s.Prepare(ctx, key, "", snapshots.WithLabels(lazyLabels("target", id)))
			result <- err
		}()
		return result
	}
	var waiting <-chan error
	err := s.opts.Claims.Collect(t.Context(), func(ctx context.Context, claimed func(store.ID) bool) error {
		if claimed(id) {
			return errors.New("a layer without snapshots is claimed")
		}
		waiting = prepare(ctx, "waiting")
		select {
		case err := <-waiting:
			t.Errorf("prepare of a condemned layer did not wait: %v", err)
			waiting = prepare(ctx, "another")
		case <-time.After(20 * time.Millisecond): // of a Prepare that does not wait
		}
		leaving, leave := context.WithCancel(ctx)
		left := prepare(leaving, "leaving")
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("prepare of a caller who leaves: %v", err)
		}
		d.removeLayer(id)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-waiting; err != nil {
		t.Errorf("prepare after the collection: %v, want an ordinary snapshot", err)
	}
}

func TestUsage(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	mounts, err := s.Prepare(t.Context(), "active", "")
	if err != nil {
		t.Fatal(err)
	}
	withMounted(t, mounts, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 100_000), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	want := func(key string) {
		t.Helper()
		du, err := fs.DiskUsage(t.Context(), s.upper(idOfKey(t, s, key)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Usage(t.Context(), key)
		if err != nil || got != snapshots.Usage(du) || got.Size < 100_000 || got.Inodes != 2 {
			t.Errorf("usage of %s %+v, %v, want %+v", key, got, err, du)
		}
	}
	want("active")
	if err := s.Commit(t.Context(), "committed", "active"); err != nil {
		t.Fatal(err)
	}
	want("committed")
	want("committed")
	file := s.usageFile(idOfKey(t, s, "committed"))
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	for _, torn := range []string{"", "{", "\x00\x00\x00", "null,"} {
		if err := os.WriteFile(file, []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		want("committed")
	}
	if _, err := s.View(t.Context(), "view", "committed"); err != nil {
		t.Fatal(err)
	}
	if u, err := s.Usage(t.Context(), "view"); err != nil || u != (snapshots.Usage{}) {
		t.Errorf("usage of a view %+v, %v", u, err)
	}
	if _, err := s.Usage(t.Context(), "nothing"); !errdefs.IsNotFound(err) {
		t.Errorf("usage of nothing: %v", err)
	}
}
