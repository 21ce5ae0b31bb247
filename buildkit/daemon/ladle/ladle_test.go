package ladle

import (
	"fmt"
	"maps"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/snapshot"
	"github.com/opencontainers/go-digest"
)

// base, child of base, and layers that are children of nothing.
func (l lab) snapshots(t *testing.T) {
	t.Helper()
	l.commit(t, "base", "")
	l.commit(t, "child", "base")
	l.commit(t, "grandchild", "child")
	l.commit(t, "one", "")
	l.commit(t, "two", "")
}

func TestMergeIsAskedOf(t *testing.T) {
	l := newLab(t, &backend{merges: true})
	l.snapshots(t)
	for name, test := range map[string]struct {
		diffs  []snapshot.Diff
		parent string
		pairs  []Pair
	}{
		"nothing":     {},
		"a chain":     {[]snapshot.Diff{{Upper: "base"}, {Lower: "base", Upper: "child"}}, "child", nil},
		"onto a base": {[]snapshot.Diff{{Upper: "base"}, {Lower: "base", Upper: "child"}, {Upper: "one"}, {Upper: "two"}}, "child", []Pair{{Upper: "one"}, {Upper: "two"}}},
		"no base":     {[]snapshot.Diff{{Lower: "base", Upper: "child"}, {Upper: "one"}}, "", []Pair{{Lower: "base", Upper: "child"}, {Upper: "one"}}},
		"a gap":       {[]snapshot.Diff{{Upper: "base"}, {Lower: "child", Upper: "grandchild"}}, "base", []Pair{{Lower: "child", Upper: "grandchild"}}},
		"two layers":  {[]snapshot.Diff{{Upper: "base"}, {Lower: "base", Upper: "grandchild"}}, "base", []Pair{{Lower: "base", Upper: "grandchild"}}},
		"of nothing":  {[]snapshot.Diff{{Upper: "base"}, {Lower: "base"}}, "base", []Pair{{Lower: "base"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := l.Merge(t.Context(), name, test.diffs); err != nil {
				t.Fatal(err)
			}
			info, err := l.Stat(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Kind != snapshots.KindCommitted || info.Parent != test.parent {
				t.Errorf("the merge is %v with parent %q, want %q", info.Kind, info.Parent, test.parent)
			}
			labels := maps.Clone(l.last().labels)
			if want := Labels(test.pairs); !maps.Equal(labels, want) {
				t.Errorf("it was asked for %v, want %v", labels, want)
			}
			if _, err := l.Usage(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	if all, err := l.leases.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("leases remain: %v, %v", all, err)
	}
}

// Hundreds of diffs are asked for at once, in labels that containerd takes.
func TestMergeOfMany(t *testing.T) {
	l := newLab(t, &backend{merges: true})
	var diffs []snapshot.Diff
	for range 600 {
		diffs = append(diffs, snapshot.Diff{Lower: "one", Upper: "two"})
	}
	l.snapshots(t)
	if err := l.Merge(t.Context(), "many", diffs); err != nil {
		t.Fatal(err)
	}
	if got := len(l.last().labels); got != 1200 {
		t.Errorf("there are %d labels", got)
	}
}

// A snapshotter that does not know the protocol gets BuildKit's own merge, and
// is asked once.
func TestOtherSnapshotters(t *testing.T) {
	l := newLab(t, &backend{lazy: []string{"layer"}})
	l.snapshots(t)
	for i := range 2 {
		key := fmt.Sprint("merged", i)
		if err := l.Merge(t.Context(), key, []snapshot.Diff{{Upper: "base"}, {Upper: "one"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Stat(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	asked := 0
	for _, p := range l.backend.prepared {
		if p.labels[mergeLabel+"0.upper"] != "" {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	l.Announce("layer", Layer{Labels: map[string]string{"containerd.io/snapshot/digest": "x"}})
	if _, err := l.Stat(t.Context(), "layer"); !errdefs.IsNotFound(err) {
		t.Errorf("a layer is lazy on a snapshotter that is not ladle: %v", err)
	}
}

// A snapshotter that ceases to merge gets BuildKit's own.
func TestSnapshotterThatCeases(t *testing.T) {
	l := newLab(t, &backend{merges: true})
	l.snapshots(t)
	diffs := []snapshot.Diff{{Upper: "one"}, {Upper: "two"}}
	for _, merges := range []bool{true, false} {
		l.backend.merges = merges
		if err := l.Merge(t.Context(), fmt.Sprint(merges), diffs); err != nil {
			t.Fatal(err)
		}
		if asked := l.last().labels[mergeLabel+"0.upper"] == "two"; asked != merges {
			t.Errorf("it was asked: %v, merges: %v", asked, merges)
		}
	}
}

// Announced layers are prepared from the lowest on when somebody looks.
func TestLazyLayers(t *testing.T) {
	l := newLab(t, &backend{merges: true, lazy: []string{"sha256:1", "sha256:2"}})
	for i, parent := range []string{"", "sha256:1", "sha256:2"} {
		l.Announce(fmt.Sprint("sha256:", i+1), Layer{Parent: parent, Labels: map[string]string{
			"containerd.io/snapshot/digest": fmt.Sprint("blob", i), "other": "label"}})
	}
	if n := len(l.backend.prepared); n != 0 {
		t.Fatalf("%d snapshots were made before anybody looked", n)
	}
	if _, err := l.Stat(t.Context(), "sha256:3"); !errdefs.IsNotFound(err) {
		t.Errorf("a layer is there that is not lazy: %v", err)
	}
	for _, key := range []string{"sha256:2", "sha256:1"} {
		info, err := l.MergeSnapshotter.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if info.Labels["containerd.io/snapshot/digest"] == "" || info.Labels["other"] != "" {
			t.Errorf("%s has the labels %v", key, info.Labels)
		}
	}
	before := len(l.backend.prepared)
	if _, err := l.Stat(t.Context(), "sha256:3"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	if len(l.backend.prepared) != before {
		t.Error("a layer that is not lazy is tried again")
	}
	if _, err := l.Stat(t.Context(), "unknown"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
}

// A layer is asked for with the blob and the table of contents that its name is
// made of, whatever BuildKit's labels say, and only by Stat.
func TestLayerIsAskedForByItsIdentity(t *testing.T) {
	l := newLab(t, &backend{merges: true})
	labels := map[string]string{blobLabel: "another blob", tocLabel: "another TOC"}
	for _, layer := range []Layer{
		{Blob: digest.FromString("blob"), TOC: digest.FromString("toc"), Labels: labels},
		{Blob: digest.FromString("blob"), Labels: labels},
	} {
		l.Announce("layer", layer)
		if _, err := l.Stat(t.Context(), "layer"); !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		if got := l.last().labels; got[refLabel] != "layer" || got[blobLabel] != layer.Blob.String() || got[tocLabel] != layer.TOC.String() {
			t.Errorf("%+v was asked for with %v", layer, got)
		}
	}
	before := len(l.backend.prepared)
	err := l.Prepare(t.Context(), "tmp-1 layer", "", snapshots.WithLabels(map[string]string{refLabel: "layer", tocLabel: "another TOC"}))
	if err == nil || errdefs.IsAlreadyExists(err) || len(l.backend.prepared) != before {
		t.Errorf("BuildKit's own request reached the snapshotter: %v", err)
	}
}

// Into finds BuildKit's snapshotter where it is, and nothing else.
func TestInto(t *testing.T) {
	l := newLab(t, &backend{})
	type manager struct {
		Snapshotter snapshot.MergeSnapshotter
		Other       int
	}
	m := &manager{Snapshotter: l.MergeSnapshotter}
	s, err := Into(m, l.leases, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Snapshotter != snapshot.MergeSnapshotter(s) || s.MergeSnapshotter != l.MergeSnapshotter {
		t.Error("it is not in the manager")
	}
	var lm leases.Manager
	for _, wrong := range []any{nil, 1, manager{}, &manager{}, &struct{ Other int }{}, &struct{ Snapshotter string }{}} {
		if _, err := Into(wrong, lm, nil); err == nil {
			t.Errorf("no error for %#v", wrong)
		}
	}
}
