package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/merge"
)

// ownersOf returns the owners of files and directories that mounts show, by path.
func ownersOf(t testing.TB, mounts []mount.Mount, paths ...string) (owners []string) {
	t.Helper()
	withMounted(t, mounts, func(dir string) {
		for _, path := range paths {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(dir, path), &st); err != nil {
				t.Fatal(err)
			}
			owners = append(owners, fmt.Sprintf("%d:%d", st.Uid, st.Gid))
		}
	})
	return owners
}

func wantOwners(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("owners of %s are %v, want %v", what, got, want)
	}
}

// TestMappings: two containers with different mappings, and one without, of one image at the
// same time; views; and all of it after a restart. Paths are the same, and lead through no
// link.
func TestMappings(t *testing.T) {
	for name, remote := range images {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			s := newEndpoint(t, d)
			top := commitImage(t, s, d, name, remote)
			paths := []string{".", "home/user/f", "bin/sh", "replaced"}
			want := map[string][]string{
				"one":   {"100000:100000", "101000:100100", "100000:100005", "100009:100009"},
				"other": {"300000:300000", "301000:300100", "300000:300005", "300009:300009"},
				"plain": {"7:8", "1000:100", "0:5", "9:9"},
				"view":  {"100007:100008", "101000:100100", "100000:100005", "100009:100009"},
			}
			mounts := map[string][]mount.Mount{}
			var err error
			for key, mapping := range map[string]string{"one": onePod, "other": otherPod, "plain": ""} {
				if mounts[key], err = s.Prepare(t.Context(), key, top, mappingLabels(mapping)); err != nil {
					t.Fatal(err)
				}
			}
			if mounts["view"], err = s.View(t.Context(), "view", top, mappingLabels(onePod)); err != nil {
				t.Fatal(err)
			}
			for key, m := range mounts {
				wantOwners(t, key, ownersOf(t, m, paths...), want[key]...)
				for _, option := range m[0].Options {
					if strings.Contains(option, "idmap=") || key != "plain" && strings.Contains(option, "/snapshots/l/") {
						t.Errorf("%s has the option %s", key, option)
					}
				}
			}
			// A client may mount a snapshot after a restart, with what it was told before.
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			d.unmount(t)
			s, err = New(t.Context(), Options{Root: s.opts.Root, Layers: d, Trees: d})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				noStrays(t, s)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			for key, m := range mounts {
				wantOwners(t, key+" after a restart", ownersOf(t, m, paths...), want[key]...)
				if again, err := s.Mounts(t.Context(), key); err != nil || !reflect.DeepEqual(again, m) {
					t.Errorf("mounts of %s are %v, %v; were %v", key, again, err, m)
				}
			}
			for key := range mounts {
				if err := s.Remove(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
			if left := mountsBelow(t, filepath.Join(d.root, "m")); len(left) > 0 {
				t.Errorf("left mounted: %v", left)
			}
		})
	}
}

// TestMappedWithoutParent: what a container writes to an empty snapshot belongs to it.
func TestMappedWithoutParent(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, client snapshots.Snapshotter, _ *disk) {
		mounts, err := client.Prepare(ctx, "empty", "", mappingLabels(onePod))
		if err != nil {
			t.Fatal(err)
		}
		withMounted(t, mounts, func(dir string) {
			if out := inContainer(t, dir, onePod, "echo new > f; stat -c %u:%g . f"); out != "0:0\n0:0\n" {
				t.Errorf("the container prints %q", out)
			}
		})
		wantOwners(t, "the host", ownersOf(t, mounts, ".", "f"), "100000:100000", "100000:100000")
		view, err := client.View(ctx, "view", "", mappingLabels(onePod))
		if err != nil {
			t.Fatal(err)
		}
		wantOwners(t, "a view", ownersOf(t, view, "."), "100000:100000")
	})
}

// TestMappedMerge: a merge in a user namespace, and what is committed over it.
func TestMappedMerge(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, client snapshots.Snapshotter, d *disk) {
		client = inTestSpace{client}
		base := commitOwned(t, client, "base", "", owned{"base": "1:1"})
		commitOwned(t, client, "a", base, owned{"a": "2:2"})
		commitOwned(t, client, "b", base, owned{"b": "3:3", "base": "4:4"})
		id := d.addLayer(t, "lazy", map[string]string{"lazy": "lazy"})
		lazy := prepareRemote(t, client, "lazy", "", id)

		labels := merge.Labels([]merge.Keys{{Lower: base, Upper: "a"}, {Lower: base, Upper: "b"}})
		for _, kind := range []string{snapshots.LabelSnapshotUIDMapping, snapshots.LabelSnapshotGIDMapping} {
			labels[kind] = onePod
		}
		mounts, err := client.Prepare(ctx, "merge", lazy, snapshots.WithLabels(labels))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"100000:100000", "100002:100002", "100003:100003", "100004:100004", "100000:100000"}
		wantOwners(t, "the merge", ownersOf(t, mounts, ".", "a", "b", "base", "lazy"), want...)
		if err := client.Commit(ctx, "merged", "merge"); err != nil {
			t.Fatal(err)
		}
		// The upper directory is empty, and counts: its owner is that of the container.
		mounts, err = client.View(ctx, "view", "merged")
		if err != nil {
			t.Fatal(err)
		}
		wantOwners(t, "the committed merge", ownersOf(t, mounts, ".", "a"), "100000:100000", "2:2")
		if mounts, err = client.Prepare(ctx, "over", "merged", mappingLabels(otherPod)); err != nil {
			t.Fatal(err)
		}
		wantOwners(t, "a container over the merge", ownersOf(t, mounts, ".", "a"), "300000:300000", "300002:300002")
	})
}

// TestCopyIsNotMapped: the files of a copy are links, whose owners nobody may change.
func TestCopyIsNotMapped(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d, func(o *Options) { o.Settle = true })
	commitOwned(t, s, "from", "", owned{"f": "1:1"})
	labels := merge.CopyRequest{From: "from", Source: "/f", Target: "/f"}.Labels()
	labels[snapshots.LabelSnapshotUIDMapping], labels[snapshots.LabelSnapshotGIDMapping] = onePod, onePod
	_, err := s.Prepare(t.Context(), "copy", "", snapshots.WithLabels(labels))
	if !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "cannot be mapped") {
		t.Errorf("copy: %v", err)
	}
}

// TestWhatIsNoMapping: labels that the kernel or containerd could not follow are refused, and
// leave nothing.
func TestWhatIsNoMapping(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, client snapshots.Snapshotter, d *disk) {
		client = inTestSpace{client}
		lazy := prepareRemote(t, client, "lazy", "", d.addLayer(t, "layer", map[string]string{"f": "f"}))
		for _, texts := range [][2]string{
			{"broken", onePod}, {onePod, ""}, {"", onePod}, {"1:100000:65535", onePod}, {"0:100000:0", onePod},
			{"0:100000:10,5:200000:10", onePod}, {onePod, "0:100000"},
		} {
			labels := snapshots.WithLabels(map[string]string{
				snapshots.LabelSnapshotUIDMapping: texts[0], snapshots.LabelSnapshotGIDMapping: texts[1],
			})
			if _, err := client.Prepare(ctx, "container", lazy, labels); !errdefs.IsInvalidArgument(err) {
				t.Errorf("prepare with %q: %v", texts, err)
			}
			if _, err := client.View(ctx, "view", lazy, labels); !errdefs.IsInvalidArgument(err) {
				t.Errorf("view with %q: %v", texts, err)
			}
		}
		for _, key := range []string{"container", "view"} {
			if info, err := client.Stat(ctx, key); !errdefs.IsNotFound(err) {
				t.Errorf("there is %+v, %v", info, err)
			}
		}
		mounts, err := client.Prepare(ctx, "all", lazy, mappingLabels("0:0:4294967295"))
		if err != nil {
			t.Fatal(err)
		}
		wantOwners(t, "a mapping of all ids to themselves", ownersOf(t, mounts, "f"), "0:0")
	})
}

// TestMappingThatIsNotPossible is refused with the reason, and with what to do.
func TestMappingThatIsNotPossible(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, client snapshots.Snapshotter, d *disk) {
		client = inTestSpace{client}
		lazy := prepareRemote(t, client, "lazy", "", d.addLayer(t, "layer", map[string]string{"f": "f"}))
		local := commitLocal(t, client, "local", "")
		d.setCanMap(errors.New("an old kernel"))
		for _, parent := range []string{"", local, lazy} {
			_, err := client.Prepare(ctx, "container", parent, mappingLabels(onePod))
			refused(t, err, "remap-ids")
			if err != nil && !strings.Contains(err.Error(), "an old kernel") {
				t.Errorf("no reason: %v", err)
			}
			_, err = client.View(ctx, "view", parent, mappingLabels(onePod))
			refused(t, err, "remap-ids")
		}
		if _, err := client.Prepare(ctx, "plain", lazy); err != nil {
			t.Error(err)
		}
	})
}

// brokenClones are Clones of a filesystem that has none.
type brokenClones struct {
	*disk
	broken bool
}

func (b *brokenClones) MountDir(ctx context.Context, owner, dir string, ids idmap.Mapping) (string, error) {
	if b.broken {
		return "", fmt.Errorf("%s: %w", dir, idmap.ErrUnsupported)
	}
	return b.disk.MountDir(ctx, owner, dir, ids)
}

// TestMappingOfOtherFilesystem: that the directories of snapshots have no clones is found out
// when one is made, and the snapshot is not.
func TestMappingOfOtherFilesystem(t *testing.T) {
	d := &brokenClones{newDisk(t), true}
	s, err := New(t.Context(), Options{Root: filepath.Join(tempDir(t), "e"), Layers: d, Trees: d})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	lazy := prepareRemote(t, s, "lazy", "", d.addLayer(t, "layer", map[string]string{"f": "f"}))
	mixed := commitLocal(t, s, "local", lazy)
	_, err = s.Prepare(t.Context(), "container", mixed, mappingLabels(onePod))
	refused(t, err, "remap-ids")
	if owners := d.allOwners(); len(owners) > 0 {
		t.Errorf("trees of %v are mounted", owners)
	}
	if entries, err := os.ReadDir(s.dirs.Of(uint64(idOfKey(t, s, "local")))); err != nil || len(entries) == 0 {
		t.Errorf("directory of the parent: %v, %v", entries, err)
	}
	if _, err := s.Prepare(t.Context(), "lazy only", lazy, mappingLabels(onePod)); err != nil {
		t.Error(err)
	}
	d.broken = false
	if _, err := s.Prepare(t.Context(), "container", mixed, mappingLabels(onePod)); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"lazy only", "container"} {
		if err := s.Remove(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
}

// TestStoredMapping: no client changes how a snapshot is mapped, and one of a later version is
// not mounted otherwise.
func TestStoredMapping(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	ctx := namespaces.WithNamespace(t.Context(), "test")
	local := commitOwned(t, s, "local", "", owned{"f": "1:1"})
	own := snapshots.WithLabels(map[string]string{mappingLabel: "1 " + onePod + " " + onePod})
	if mounts, err := s.Prepare(ctx, "set", local, own); err != nil {
		t.Error(err)
	} else {
		wantOwners(t, "a snapshot with a label of ours", ownersOf(t, mounts, "f"), "1:1")
	}
	before, err := s.Prepare(ctx, "mapped", local, mappingLabels(onePod))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(ctx, snapshots.Info{Name: "mapped", Labels: map[string]string{mappingLabel: "1 " + otherPod + " " + otherPod}}); err != nil {
		t.Error(err)
	}
	if after, err := s.Mounts(ctx, "mapped"); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("mounts %v, %v; were %v", after, err, before)
	}
	for value, wrong := range map[string]error{
		"2 anything": durable.ErrLaterFormat, "1 0:100000:65536": errdefs.ErrDataLoss, "": errdefs.ErrDataLoss, "x y z": errdefs.ErrDataLoss,
	} {
		err := s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
			_, err := storage.UpdateInfo(ctx, snapshots.Info{Name: "mapped", Labels: map[string]string{mappingLabel: value}}, "labels."+mappingLabel)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if value == "" {
			continue // a label without a value is none
		}
		if mounts, err := s.Mounts(ctx, "mapped"); !errors.Is(err, wrong) {
			t.Errorf("label %q: %v, %v", value, mounts, err)
		}
	}
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		_, err := storage.UpdateInfo(ctx, snapshots.Info{Name: "mapped", Labels: map[string]string{mappingLabel: "1 " + onePod + " " + onePod}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkPrepareMapped is a Prepare over a lazy layer and a local one, with a mapping that
// no other snapshot has, beside one without.
func BenchmarkPrepareMapped(b *testing.B) {
	for _, mapped := range []bool{false, true} {
		b.Run(fmt.Sprint("mapped=", mapped), func(b *testing.B) {
			d := newDisk(b)
			s := newEndpoint(b, d)
			lazy := prepareRemote(b, s, "lazy", "", d.addLayer(b, "layer", map[string]string{"f": "f"}))
			top := commitLocal(b, s, "local", lazy)
			for pod := 1; b.Loop(); pod = pod%4000 + 1 {
				var opts []snapshots.Opt
				if mapped {
					opts = append(opts, mappingLabels(fmt.Sprintf("0:%d:65536", pod<<20)))
				}
				if _, err := s.Prepare(b.Context(), "key", top, opts...); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Remove(b.Context(), "key"); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
