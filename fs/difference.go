package fs

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// devicesOf returns the layers whose data files the tree that spec says has
// files in. It leaves out what Layers begins with if that is all of Lower: a
// file of theirs that is seen over Layers is seen over Lower.
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

// diff returns the tree of a Diff. Its files count the layers of devicesOf.
func (f *FileSystem) diff(spec store.Spec) (*tree.Inode, error) {
	w, err := f.wholes(spec.All())
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

// stacked returns the tree of a Stack. Its files count the layers of devicesOf.
func (f *FileSystem) stacked(spec store.Spec) (*tree.Inode, error) {
	w, err := f.wholes(spec.All())
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

// difference returns the tree of a Diff, whose layers w has.
func (f *FileSystem) difference(w *wholes, spec store.Spec) (*tree.Inode, error) {
	c := newComparison(f.opts.Images, spec)
	root := tree.Diff(w.over(spec.Lower), w.over(spec.Layers), c.same)
	if err := c.end(); err != nil {
		return nil, err
	}
	return root, recount(root, len(spec.Layers)-len(devicesOf(spec)))
}

// wholes makes the trees on both sides of differences. Layers that several have
// are decoded once.
type wholes struct {
	layers map[store.ID]*tree.Inode
	// last is over which layers the one made last is: in a chain of
	// differences the upper side of each is the lower one of the next.
	last  []store.ID
	whole *tree.Inode
}

// wholes decodes layers.
func (f *FileSystem) wholes(of []store.ID) (_ *wholes, err error) {
	var ids []store.ID
	for _, id := range of {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	layers, err := f.openLayers(ids) // for the time being
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeLayers(layers)) }()
	roots, err := treesOf(layers)
	if err != nil {
		return nil, err
	}
	w := &wholes{layers: map[store.ID]*tree.Inode{}}
	for i, id := range ids {
		w.layers[id] = roots[i]
	}
	return w, nil
}

// over returns the tree over layers, with nothing below.
func (w *wholes) over(layers []store.ID) *tree.Inode {
	if w.whole != nil && slices.Equal(layers, w.last) {
		return w.whole
	}
	var roots []*tree.Inode
	for _, id := range layers {
		roots = append(roots, w.layers[id])
	}
	w.last, w.whole = layers, tree.Merge(roots...)
	return w.whole
}

// recount lets the files of a tree count layers from the first-th, in place.
func recount(root *tree.Inode, first int) error {
	done := map[*tree.Inode]bool{}
	return tree.Walk(root, func(path string, i *tree.Inode) error {
		if !i.IsRegular() || i.Size == 0 || done[i] {
			return nil
		}
		done[i] = true
		if i.Data.Layer -= first; i.Data.Layer < 0 {
			return fmt.Errorf("%q differs, but is of a layer that is on both sides", path)
		}
		return nil
	})
}
