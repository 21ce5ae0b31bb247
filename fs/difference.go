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
	n := len(spec.Lower)
	if n < len(spec.Layers) && slices.Equal(spec.Lower, spec.Layers[:n]) {
		return spec.Layers[n:]
	}
	return spec.Layers
}

// diff returns the tree of a Diff. Its files count the layers of devicesOf.
func (f *FileSystem) diff(spec store.Spec) (*tree.Inode, error) {
	lower, upper, err := f.sides(spec)
	if err != nil {
		return nil, err
	}
	c := newComparison(f.opts.Images, spec)
	root := tree.Diff(lower, upper, c.same)
	if err := c.end(); err != nil {
		return nil, err
	}
	return root, recount(root, len(spec.Layers)-len(devicesOf(spec)))
}

// sides returns the trees over both sides of a Diff. Layers that both have are
// opened and decoded once.
func (f *FileSystem) sides(spec store.Spec) (lower, upper *tree.Inode, err error) {
	ids := slices.Clone(spec.Lower)
	for _, id := range spec.Layers {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	layers, err := f.openLayers(ids) // for the time being
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, closeLayers(layers)) }()
	roots, err := treesOf(layers)
	if err != nil {
		return nil, nil, err
	}
	merged := func(side []store.ID) *tree.Inode {
		var of []*tree.Inode
		for _, id := range side {
			of = append(of, roots[slices.Index(ids, id)])
		}
		return tree.Merge(of...)
	}
	return merged(spec.Lower), merged(spec.Layers), nil
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
