package stack

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/store"
)

func layer(name string) store.ID {
	return store.ID{Blob: digest.FromString(name), TOC: digest.FromString("TOC " + name)}
}

// chainOf returns the chain of snapshots, each a number of a local one, or the name of the
// layer of a remote one.
func chainOf(snapshots ...any) (c Chain) {
	for _, s := range snapshots {
		switch s := s.(type) {
		case int:
			c = append(c, Snapshot{ID: uint64(s)})
		case string:
			c = append(c, Snapshot{ID: 1000 + uint64(s[0]), Remote: true, Layer: layer(s)})
		case *Stack:
			c = append(c, Snapshot{ID: 999, Stack: s})
		}
	}
	return c
}

func TestHowDiffsComeAbout(t *testing.T) {
	diff := &Stack{Bare: true, Lowers: []Lower{{Tree: store.Spec{Kind: store.Diff, Layers: []store.ID{layer("d")}}}}}
	for name, test := range map[string]struct {
		lower, upper    Chain
		index, adjacent bool
	}{
		"lazy from nothing":        {nil, chainOf("a"), true, true},
		"lazy and its child":       {chainOf("a"), chainOf("a", "b"), true, true},
		"lazy and an unrelated":    {chainOf("c", "b"), chainOf("a", "b"), true, false},
		"lazy to nothing":          {chainOf("a"), nil, false, false},
		"local over lazy":          {chainOf("a"), chainOf("a", 1), false, true},
		"lazy over local":          {chainOf(1), chainOf(1, "b"), false, true},
		"local and its grandchild": {chainOf(1), chainOf(1, 2, 3), false, false},
		"merge of lazy ones":       {chainOf("a"), chainOf("a", diff), false, true},
	} {
		s := PairOf(test.lower, test.upper).sides
		spec, index := s.index(false)
		if adjacent := s.adjacent(); index != test.index || adjacent != test.adjacent {
			t.Errorf("%s: index %v, adjacent %v", name, index, adjacent)
		}
		if index && spec.Check() != nil {
			t.Errorf("%s: %+v: %v", name, spec, spec.Check())
		}
	}
	want := store.Spec{Kind: store.Diff, Layers: []store.ID{layer("a"), layer("b")}, Lower: []store.ID{layer("a")}}
	if diff, ok := PairOf(chainOf("a"), chainOf("a", "b")).sides.index(false); !ok || !diff.Equal(want) {
		t.Errorf("diff: %+v, %v", diff, ok)
	}
	lowest, ok := PairOf(nil, chainOf("a", "b")).sides.index(true)
	if want := (store.Spec{Kind: store.Lowest, Layers: []store.ID{layer("a"), layer("b")}}); !ok || !lowest.Equal(want) {
		t.Errorf("lowest: %+v, %v", lowest, ok)
	}
}

// The lowers of a view are those of its parent's and one more for each snapshot, and what
// an active snapshot mounts shows the same layers in fewer trees.
func TestLowersOfChains(t *testing.T) {
	merged := &Stack{Lowers: []Lower{{Diff: "3-4"}, {Part: "s1"}, {Tree: store.Spec{Layers: []store.ID{layer("b")}}}}}
	for _, test := range []struct {
		chain        Chain
		view, active string
	}{
		{chainOf(), "", ""},
		{chainOf(1, 2), "2/fs 1/fs", "2/fs 1/fs"},
		{chainOf("a", "b"), "b a'", "ab'"},
		{chainOf("a", "b", 1, "b", "a"), "a b.1 1/fs b a'", "a b 1/fs ab'"},
		{chainOf("a", "b", merged, 7), "7/fs 999/fs b.1 999/s1 d/3-4 b a'", "7/fs 999/fs b 999/s1 d/3-4 ab'"},
		{chainOf(7, &Stack{Bare: true, Lowers: []Lower{{Snapshot: 8}, {Snapshot: 7}}}, 5), "5/fs 7/fs 8/fs", "5/fs 7/fs 8/fs"},
	} {
		if got := describe(test.chain.View()); got != test.view {
			t.Errorf("view: %s, want %s", got, test.view)
		}
		if got := describe(test.chain.Active()); got != test.active {
			t.Errorf("active: %s, want %s", got, test.active)
		}
	}
}

// describe writes lowers as paths of directories and names of layers; ' is of kind
// Lowest, .N is Again.
func describe(lowers []Lower) (text string) {
	names := map[store.ID]string{layer("a"): "a", layer("b"): "b"}
	for i, l := range lowers {
		if i > 0 {
			text += " "
		}
		if !l.IsTree() {
			text += Dirs("/").Lower(l)[1:]
			continue
		}
		for _, id := range l.Tree.Layers {
			text += names[id]
		}
		if l.Tree.Kind == store.Lowest {
			text += "'"
		}
		if l.Tree.Again > 0 {
			text += fmt.Sprint(".", l.Tree.Again)
		}
	}
	return text
}

func TestNamesOfDiffs(t *testing.T) {
	for _, name := range []string{"0-1", "12-0", "3-4a", "18446744073709551614-1"} {
		if n, ok := parseDiffName(name); !ok || n.String() != name {
			t.Errorf("%s is parsed as %+v, %v", name, n, ok)
		}
	}
	for _, name := range []string{"", "0", "a", "-", "1-", "-1", "1-2b", "1-2-3", "c7", "s1-0", "new-123", "+1-2"} {
		if n, ok := parseDiffName(name); ok {
			t.Errorf("%s is parsed as %+v", name, n)
		}
	}
}
