package fs

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// devicesOf returns the layers with data files that the tree of spec refers to. If Layers
// begins with all of Lower, those are left out: a file of theirs is the same on both
// sides.
func devicesOf(spec store.Spec) []store.ID {
	if spec.Kind == store.Stack {
		var all []store.ID
		for _, d := range spec.Diffs() {
			all = append(all, devicesOf(d)...)
		}
		return all
	}
	n := len(spec.Lower)
	if n < len(spec.Layers) && slices.Equal(spec.Lower, spec.Layers[:n]) {
		return spec.Layers[n:]
	}
	return spec.Layers
}

// diff returns the tree of a store.Diff. Its Data.Layer are indexes into devicesOf(spec).
func (f *FileSystem) diff(spec store.Spec) (*tree.Inode, error) {
	w, err := f.sides(spec.All())
	if err != nil {
		return nil, err
	}
	root, err := f.difference(w, spec)
	if err != nil {
		return nil, err
	}
	tree.NoteAttributed(root)
	return root, nil
}

// stacked returns the tree of a store.Stack. Its Data.Layer are indexes into
// devicesOf(spec).
func (f *FileSystem) stacked(spec store.Spec) (*tree.Inode, error) {
	w, err := f.sides(spec.All())
	if err != nil {
		return nil, err
	}
	var roots []*tree.Inode
	first := 0
	for _, d := range spec.Diffs() {
		root, err := f.difference(w, d)
		if err != nil {
			return nil, err
		}
		if err := recount(root, -first); err != nil {
			return nil, err
		}
		roots, first = append(roots, root), first+len(devicesOf(d))
	}
	root := tree.Stack(roots...)
	tree.NoteAttributed(root)
	return root, nil
}

// difference returns the tree of a store.Diff over layers that w has.
func (f *FileSystem) difference(w *sides, spec store.Spec) (*tree.Inode, error) {
	c := newComparison(f.opts.Images, spec)
	root := tree.Diff(w.merge(spec.Lower), w.merge(spec.Layers), c.same)
	if err := c.end(); err != nil {
		return nil, err
	}
	return root, recount(root, len(spec.Layers)-len(devicesOf(spec)))
}

// sides makes the merged trees on both sides of differences. A layer is decoded once.
type sides struct {
	layers map[store.ID]*tree.Inode
	// last are the layers of the tree merged, which was made last: in a chain of
	// differences the upper side of each is the lower side of the next.
	last   []store.ID
	merged *tree.Inode
}

// sides decodes the given layers.
func (f *FileSystem) sides(of []store.ID) (_ *sides, err error) {
	var ids []store.ID
	for _, id := range of {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	layers, err := f.openLayers(ids)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeLayers(layers)) }()
	roots, err := treesOf(layers)
	if err != nil {
		return nil, err
	}
	w := &sides{layers: map[store.ID]*tree.Inode{}}
	for i, id := range ids {
		w.layers[id] = roots[i]
	}
	return w, nil
}

// merge returns the merged tree of layers.
func (w *sides) merge(layers []store.ID) *tree.Inode {
	if w.merged != nil && slices.Equal(layers, w.last) {
		return w.merged
	}
	var roots []*tree.Inode
	for _, id := range layers {
		roots = append(roots, w.layers[id])
	}
	w.last, w.merged = layers, tree.Merge(roots...)
	return w.merged
}

// recount subtracts first from Data.Layer of all files of a tree, in place.
func recount(root *tree.Inode, first int) error {
	done := map[*tree.Inode]bool{}
	return tree.Walk(root, func(path string, i *tree.Inode) error {
		if !i.IsRegular() || i.Size == 0 || done[i] {
			return nil
		}
		done[i] = true
		if i.Data.Layer -= first; i.Data.Layer < 0 {
			return fmt.Errorf("%q differs, but its layer is on both sides", path)
		}
		return nil
	})
}
