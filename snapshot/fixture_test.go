package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	errbolt "go.etcd.io/bbolt/errors"

	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// newEndpoint opens an endpoint over d. When the test ends nothing must be
// left that belongs to no snapshot.
func newEndpoint(t testing.TB, d *disk, change ...func(*Options)) *Snapshotter {
	t.Helper()
	opts := Options{Root: filepath.Join(tempDir(t), "e", "ladle"), Layers: d, Trees: d}
	for _, c := range change {
		c(&opts)
	}
	s, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		noStrays(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		noMounts(t, s.opts.Root)
	})
	return s
}

// noStrays checks that after Cleanup directories and owners of trees are
// exactly those of the snapshots there are.
func noStrays(t testing.TB, s *Snapshotter) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	err := s.Cleanup(ctx)
	if errors.Is(err, errbolt.ErrDatabaseNotOpen) {
		return // the test closed it
	}
	if err != nil {
		t.Error(err)
	}
	var dirs, owners []string
	var used uses
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		keys, err := storage.IDMap(ctx)
		if err != nil {
			return err
		}
		for id, key := range keys {
			_, info, _, err := storage.GetInfo(ctx, key)
			if err != nil {
				return err
			}
			if _, remote := layerOf(info); !remote && (info.Kind != snapshots.KindView || info.Parent == "") {
				dirs = append(dirs, id)
			}
			chain, err := readChain(ctx, info.Parent)
			if err != nil {
				return err
			}
			st, err := stackOf(info)
			if err != nil {
				return err
			}
			u := usable{id: numberOf(id), kind: info.Kind, stack: st}
			if u.ids, err = mappingOf(info); err != nil {
				return err
			}
			u.setLowers(chain)
			owns := slices.ContainsFunc(u.lowers, stack.Lower.IsTree) || !u.ids.IsNone() && len(u.lowers) > 0
			if info.Kind != snapshots.KindCommitted && owns {
				owners = append(owners, s.owner(id))
			}
		}
		used, err = readUses(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range used.ids { // of removed snapshots
		if !slices.Contains(dirs, id.String()) {
			dirs = append(dirs, id.String())
		}
	}
	entries, err := os.ReadDir(string(s.dirs))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if e.Name() != stack.TreesName && e.Name() != stack.DiffsName {
			found = append(found, e.Name())
		}
	}
	slices.Sort(dirs)
	slices.Sort(found)
	if !slices.Equal(found, dirs) {
		t.Errorf("directories %v, want %v", found, dirs)
	}
	slices.Sort(owners)
	mine := slices.DeleteFunc(s.opts.Trees.(*disk).allOwners(), func(o string) bool { return !strings.HasPrefix(o, s.opts.Name+"/") })
	if !slices.Equal(mine, owners) {
		t.Errorf("owners of trees %v, want %v", mine, owners)
	}
	ofIsTrue(t, s)
}

// lazyLabels are what containerd's transfer service sends for a layer of
// image, the layers of which are listed from this one up.
func lazyLabels(target string, id store.ID, above ...store.ID) map[string]string {
	layers := []string{id.Blob.String()}
	for _, a := range above {
		layers = append(layers, a.Blob.String())
	}
	return map[string]string{
		"containerd.io/snapshot.ref":                 target,
		"containerd.io/snapshot/diff-id":             digest.FromString("tar of " + target).String(),
		"containerd.io/snapshot/cri.image-ref":       "registry.test/image:1",
		"containerd.io/snapshot/cri.layer-digest":    id.Blob.String(),
		"containerd.io/snapshot/cri.image-layers":    strings.Join(layers, ","),
		"containerd.io/snapshot/cri.manifest-digest": digest.FromString("manifest").String(),
		"containerd.io/snapshot/stargz/toc.digest":   id.TOC.String(),
	}
}

// prepareRemote prepares the layer id over parent and returns the key that its
// snapshot is found by, which is target.
func prepareRemote(t testing.TB, s snapshots.Snapshotter, target, parent string, id store.ID, above ...store.ID) string {
	t.Helper()
	_, err := s.Prepare(t.Context(), "extract "+target, parent, snapshots.WithLabels(lazyLabels(target, id, above...)))
	if !errdefs.IsAlreadyExists(err) {
		t.Fatalf("prepare of a lazy layer: %v, want ErrAlreadyExists", err)
	}
	return target
}

// commitLocal makes a local committed snapshot with one file.
func commitLocal(t testing.TB, s snapshots.Snapshotter, name, parent string) string {
	t.Helper()
	mounts, err := s.Prepare(t.Context(), name+"-active", parent)
	if err != nil {
		t.Fatal(err)
	}
	withMounted(t, mounts, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if err := s.Commit(t.Context(), name, name+"-active"); err != nil {
		t.Fatal(err)
	}
	return name
}

func withMounted(t testing.TB, mounts []mount.Mount, use func(dir string)) {
	t.Helper()
	dir := tempDir(t)
	if err := mount.All(mounts, dir); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := mount.UnmountAll(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	use(dir)
}

// files returns the regular files that mounts show, with their contents.
func files(t testing.TB, mounts []mount.Mount) map[string]string {
	t.Helper()
	found := map[string]string{}
	withMounted(t, mounts, func(dir string) {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			name, _ := filepath.Rel(dir, path)
			if !e.Type().IsRegular() {
				found[name] = fmt.Sprint(e.Type())
				return nil
			}
			b, err := os.ReadFile(path)
			found[name] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return found
}

// idOfKey returns the number of a snapshot.
func idOfKey(t testing.TB, s *Snapshotter, key string) number {
	t.Helper()
	var id string
	err := s.meta.WithTransaction(t.Context(), false, func(ctx context.Context) (err error) {
		id, _, _, err = storage.GetInfo(ctx, key)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return numberOf(id)
}

// idsOf returns the layers at the given places of names.
func idsOf(names []string, places []int) []store.ID {
	var ids []store.ID
	for _, place := range places {
		ids = append(ids, idOf(names[place]))
	}
	return ids
}

// isClaimed asks as a collection does.
func isClaimed(s *Snapshotter, id store.ID) bool {
	defer s.opts.Claims.pardon()
	return !s.opts.Claims.condemn(id)
}
