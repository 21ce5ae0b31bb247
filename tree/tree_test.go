package tree_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/tree"
)

func TestAddCountsLinks(t *testing.T) {
	d := tree.NewDir(0o755).Dir
	a, b := &tree.Inode{Mode: unix.S_IFREG}, &tree.Inode{Mode: unix.S_IFREG}
	d.Add("1", a)
	d.Add("2", a)
	d.Add("3", b)
	d.Add("2", b) // takes the name from a
	d.Remove("3")
	d.Remove("none")
	d.Add("1", a) // no change
	if a.Nlink != 1 || b.Nlink != 1 || d.Len() != 2 {
		t.Errorf("links %d and %d, %d entries", a.Nlink, b.Nlink, d.Len())
	}
}

func TestWalk(t *testing.T) {
	root := tree.NewDir(0o755)
	sub := tree.NewDir(0o755)
	sub.Dir.Add("x", &tree.Inode{Mode: unix.S_IFREG})
	for _, name := range []string{"é", "b", "a b", "-", "B"} {
		root.Dir.Add(name, &tree.Inode{Mode: unix.S_IFREG})
	}
	root.Dir.Add("a", sub)
	var paths []string
	stop := errors.New("stop")
	err := tree.Walk(root, func(path string, _ *tree.Inode) error {
		paths = append(paths, path)
		if path == "b" {
			return stop
		}
		return nil
	})
	want := []string{"", "-", "B", "a", "a/x", "a b", "b"}
	if !slices.Equal(paths, want) || err != stop {
		t.Errorf("walked %q, %v; want %q", paths, err, want)
	}
}

// TestMergeImplied has what overlayfs has not: directories that a layer does
// not hold, whose attributes are those of the layers below.
func TestMergeImplied(t *testing.T) {
	layer := func(perm uint32, implied bool) *tree.Inode {
		root, d := tree.NewDir(perm), tree.NewDir(perm)
		root.Dir.Implied, d.Dir.Implied = implied, implied
		root.Dir.Add("d", d)
		return root
	}
	cases := []struct {
		name   string
		layers []*tree.Inode
		want   uint32
	}{
		{"over a real one", []*tree.Inode{layer(0o700, false), layer(0o755, true)}, 0o700},
		{"under a real one", []*tree.Inode{layer(0o755, true), layer(0o711, false)}, 0o711},
		{"between", []*tree.Inode{layer(0o700, false), layer(0o755, true), layer(0o722, false)}, 0o722},
		{"alone", []*tree.Inode{layer(0o755, true)}, 0o755},
		{"over a whiteout", []*tree.Inode{layer(0o700, false), whiteouts("d"), layer(0o755, true)}, 0o755},
	}
	for _, c := range cases {
		d := tree.Merge(c.layers...).Dir.Lookup("d")
		if d == nil || d.Mode != unix.S_IFDIR|c.want {
			t.Errorf("%s: %+v, want mode %o", c.name, d, c.want)
		}
	}
}

// TestMergeImpliedUnderOpaque: the attributes are those of a directory that is
// hidden, as the layer was unpacked before anything hid it.
func TestMergeImpliedUnderOpaque(t *testing.T) {
	layer := func(opaque, implied bool, perm uint32) *tree.Inode {
		root, d, sub := tree.NewDir(0o755), tree.NewDir(0o750), tree.NewDir(perm)
		d.Dir.Opaque, sub.Dir.Implied = opaque, implied
		d.Dir.Add("sub", sub)
		root.Dir.Add("d", d)
		return root
	}
	hiding := dirWith("d", tree.NewDir(0o755))
	hiding.Dir.Lookup("d").Dir.Opaque = true
	cases := []struct {
		name   string
		layers []*tree.Inode
		want   uint32
	}{
		{"in the layer itself", []*tree.Inode{layer(false, false, 0o711), layer(true, true, 0o755)}, 0o711},
		{"in a layer between", []*tree.Inode{layer(false, false, 0o711), hiding, layer(false, true, 0o755)}, 0o711},
		{"not implied", []*tree.Inode{layer(false, false, 0o711), layer(true, false, 0o755)}, 0o755},
		{"nearest", []*tree.Inode{layer(false, false, 0o711), layer(true, false, 0o722), layer(true, true, 0o755)}, 0o722},
	}
	for _, c := range cases {
		sub := tree.Merge(c.layers...).Dir.Lookup("d").Dir.Lookup("sub")
		if sub == nil || sub.Mode != unix.S_IFDIR|c.want {
			t.Errorf("%s: %+v, want mode %o", c.name, sub, c.want)
		}
	}
	below, above := dirWith("d", tree.NewDir(0o711)), dirWith("d", tree.NewDir(0o755))
	above.Dir.Lookup("d").Dir.Opaque, above.Dir.Lookup("d").Dir.Implied = true, true
	if d := tree.Merge(below, above).Dir.Lookup("d"); d.Mode != unix.S_IFDIR|0o711 {
		t.Errorf("the opaque one itself: %+v", d)
	}
}

// TestMergeLeavesLayersAlone merges twice and compares the layers with copies.
func TestMergeLeavesLayersAlone(t *testing.T) {
	layers := func() []*tree.Inode {
		r := rand.New(rand.NewPCG(7, 7))
		s := treetest.Shape{Inodes: 300, Layer: true, Collide: true, MaxXattr: 10}
		return []*tree.Inode{treetest.Random(r, s), treetest.Random(r, s), treetest.Random(r, s)}
	}
	used := layers()
	first := tree.Merge(used...)
	second := tree.Merge(used...)
	if d := treetest.Diff(first, second); len(d) > 0 {
		t.Errorf("a second merge differs:%s", treetest.Lines(d, 5))
	}
	for i, fresh := range layers() {
		if d := treetest.Diff(used[i], fresh); len(d) > 0 {
			t.Errorf("layer %d was changed:%s", i, treetest.Lines(d, 5))
		}
	}
	inputs := map[*tree.Inode]bool{}
	for _, layer := range used {
		_ = tree.Walk(layer, func(_ string, i *tree.Inode) error { inputs[i] = true; return nil })
	}
	_ = tree.Walk(first, func(path string, i *tree.Inode) error {
		if inputs[i] {
			t.Errorf("%q is an inode of a layer", path)
		}
		return nil
	})
}

func TestMergeOfNothing(t *testing.T) {
	root := tree.Merge()
	if !root.IsDir() || root.Dir.Len() != 0 || root.Dir.Implied {
		t.Errorf("%+v", root)
	}
}
