package snapshot

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// refused checks that an error says which capability to take away.
func refused(t *testing.T, err error, capability string) {
	t.Helper()
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), `remove "`+capability+`" from the capabilities`) {
		t.Errorf("error %v; want one about the capability %s", err, capability)
	}
}

// everyWay runs a test for each way in which a client reaches an endpoint.
func everyWay(t *testing.T, test func(t *testing.T, ctx context.Context, client snapshots.Snapshotter, d *disk)) {
	for way, reach := range clients {
		t.Run(way, func(t *testing.T) {
			d := newDisk(t)
			s := newEndpoint(t, d)
			client, end, err := reach(s, tempDir(t))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				noStrays(t, s)
				if err := end(); err != nil {
					t.Error(err)
				}
			}()
			test(t, namespaces.WithNamespace(t.Context(), "test"), client, d)
		})
	}
}

// unpackerLabels are what containerd's unpacker sends for a layer over another.
func unpackerLabels(target, diffID, below string) map[string]string {
	labels := map[string]string{snapshots.LabelSnapshotRef: target, snapshots.LabelSnapshotDiffID: diffID}
	if below != "" {
		labels[parentChainLabel] = below
	}
	return labels
}

// With the capability rebase a layer is prepared over nothing, and put over its
// parent when it is committed. What it deletes is deleted.
func TestLayerIsPutOverItsParentLate(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, client snapshots.Snapshotter, d *disk) {
		client = inTestSpace{client}
		lowest, upper := digest.FromString("lowest").String(), digest.FromString("upper").String()
		chain := digest.FromString(lowest + " " + upper).String()
		labels := lazyLabels(chain, d.addLayer(t, "upper", map[string]string{"f": "f"}))
		maps.Copy(labels, unpackerLabels(chain, upper, lowest))

		mounts, err := client.Prepare(ctx, "extract-1-a "+chain, "", snapshots.WithLabels(labels))
		if err != nil {
			t.Fatal(err)
		}
		again, err := client.Mounts(ctx, "extract-1-a "+chain)
		if err != nil || !reflect.DeepEqual(again, mounts) {
			t.Errorf("mounts are %v, %v, and were %v", again, err, mounts)
		}
		below := prepareRemote(t, client, lowest, "", d.addLayer(t, "lowest", map[string]string{"gone": "gone", "kept": "kept"}))

		// containerd unpacks into the upper directory of an overlay mount,
		// with whiteouts, and only there (core/diff/apply, apply_linux.go).
		if len(mounts) != 1 || mounts[0].Type != "overlay" || mounts[0].ReadOnly() {
			t.Fatalf("mounts are %v", mounts)
		}
		dir := optionOf(t, mounts[0], "upperdir=")
		if err := errors.Join(unix.Mknod(filepath.Join(dir, "gone"), unix.S_IFCHR, 0), os.WriteFile(filepath.Join(dir, "new"), []byte("new"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := client.Commit(ctx, "alone", "extract-1-a "+chain); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("commit without a parent: %v", err)
		}
		if err := client.Commit(ctx, chain, "extract-1-a "+chain, snapshots.WithLabels(labels), snapshots.WithParent(below)); err != nil {
			t.Fatal(err)
		}
		info, err := client.Stat(ctx, chain)
		if err != nil || info.Parent != below {
			t.Errorf("the snapshot is %+v, %v", info, err)
		}
		if mounts, err = client.Prepare(ctx, "container", chain); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, "a container", mounts, map[string]string{"kept": "kept", "new": "new"})
	})
}

func optionOf(t *testing.T, m mount.Mount, prefix string) string {
	t.Helper()
	for _, option := range m.Options {
		if value, ok := strings.CutPrefix(option, prefix); ok {
			return value
		}
	}
	t.Fatalf("%v has no %s", m, prefix)
	return ""
}

// The lowest layer has no parent to be prepared without, whatever the annotations
// of its image are, and a client without the capability names the parent.
func TestIsOrphan(t *testing.T) {
	lowest, upper := digest.FromString("lowest").String(), digest.FromString("upper").String()
	chain := digest.FromString(lowest + " " + upper).String()
	for name, test := range map[string]struct {
		parent string
		labels map[string]string
		want   bool
	}{
		"lowest":                  {"", unpackerLabels(lowest, lowest, ""), false},
		"lowest, with annotation": {"", unpackerLabels(lowest, lowest, chain), false},
		"over its parent":         {lowest, unpackerLabels(chain, upper, lowest), false},
		"without its parent":      {"", unpackerLabels(chain, upper, lowest), true},
		"only an annotation":      {"", unpackerLabels(lowest, "", chain), false},
		"a container":             {"", map[string]string{parentChainLabel: lowest}, false},
	} {
		if got := isOrphan(test.parent, test.labels); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// containerd 2.2 sends none of the labels by which such a Prepare is known, and
// whiteouts are lost.
func TestCommitOverAnotherParentIsRefused(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, client snapshots.Snapshotter, _ *disk) {
		commitLocal(t, inTestSpace{client}, "lowest", "")
		if _, err := client.Prepare(ctx, "key", "", snapshots.WithLabels(map[string]string{snapshots.LabelSnapshotRef: "x"})); err != nil {
			t.Fatal(err)
		}
		refused(t, client.Commit(ctx, "upper", "key", snapshots.WithParent("lowest")), "rebase")
		if info, err := client.Stat(ctx, "key"); err != nil || info.Kind != snapshots.KindActive {
			t.Errorf("the snapshot is %+v, %v", info, err)
		}
		if _, err := client.Prepare(ctx, "over", "lowest"); err != nil {
			t.Fatal(err)
		}
		if err := client.Commit(ctx, "named again", "over", snapshots.WithParent("lowest")); err != nil {
			t.Errorf("over the parent that it has: %v", err)
		}
	})
}

// inTestSpace is a client in the namespace that everyWay uses.
type inTestSpace struct{ snapshots.Snapshotter }

func (c inTestSpace) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return c.Snapshotter.Prepare(namespaces.WithNamespace(ctx, "test"), key, parent, opts...)
}

func (c inTestSpace) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	return c.Snapshotter.Commit(namespaces.WithNamespace(ctx, "test"), name, key, opts...)
}

func mappingLabels(mapping string) snapshots.Opt {
	return snapshots.WithLabels(map[string]string{
		snapshots.LabelSnapshotUIDMapping: mapping, snapshots.LabelSnapshotGIDMapping: mapping,
	})
}

// Without the capability containerd's client gives the files to the ids by
// itself, in a snapshot of its own, and sends the same labels with it as parent.
func TestClientMapsIdsItself(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, client snapshots.Snapshotter, d *disk) {
		client = inTestSpace{client}
		lazy := prepareRemote(t, client, "lazy", "", d.addLayer(t, "layer", map[string]string{"f": "f"}))
		remapped := digest.FromString("remapped").String()
		if _, err := client.Prepare(ctx, remapped+"-remap", lazy); err != nil {
			t.Fatal(err)
		}
		if err := client.Commit(ctx, remapped, remapped+"-remap"); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Prepare(ctx, "container", remapped, mappingLabels("0:100000:65536")); err != nil {
			t.Errorf("prepare: %v", err)
		}
		if _, err := client.View(ctx, "view", remapped, mappingLabels("0:100000:65536")); err != nil {
			t.Errorf("view: %v", err)
		}
	})
}

// Annotations of an image ask for nothing: clients let them through as labels.
func TestImageCannotAskForMapping(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	labels := map[string]string{snapshots.LabelSnapshotRef: "target", snapshots.LabelSnapshotUIDMapping: "0:100000:65536"}
	if _, err := s.Prepare(t.Context(), "extract", "", snapshots.WithLabels(labels)); err != nil {
		t.Error(err)
	}
}

// The unpacker of containerd 2.4 takes a layer for complete, and commits it
// empty, if the last mount that Prepare returns looks read-only.
func TestLayerToUnpackIsNeverReadOnly(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	lazy := prepareRemote(t, s, "lazy", "", d.addLayer(t, "one", map[string]string{"f": "f"}))
	parents := map[string]string{
		"nothing":          "",
		"a local snapshot": commitLocal(t, s, "local", ""),
		"a lazy layer":     lazy,
		"two lazy layers":  prepareRemote(t, s, "lazy2", lazy, d.addLayer(t, "two", map[string]string{"f": "g"})),
		"both":             commitLocal(t, s, "upper", lazy),
	}
	parents["a lazy layer over a local one"] = prepareRemote(t, s, "lazy3", parents["both"], d.addLayer(t, "three", map[string]string{"f": "h"}))
	d.setOpen(func(context.Context, layer.Request) (store.ID, error) { return store.ID{}, layer.ErrNotLazy })
	for name, parent := range parents {
		for asked, labels := range map[string]map[string]string{
			"a layer that is not lazy": lazyLabels("target", idOf("not lazy")),
			"no layer":                 nil,
		} {
			key := "extract " + asked + " " + parent
			mounts, err := s.Prepare(t.Context(), key, parent, snapshots.WithLabels(labels))
			if err != nil {
				t.Fatal(err)
			}
			again, err := s.Mounts(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			for _, mounts := range [][]mount.Mount{mounts, again} {
				if last := mounts[len(mounts)-1]; last.ReadOnly() {
					t.Errorf("over %s, asked for %s: %v is read-only", name, asked, last)
				}
			}
		}
	}
}
