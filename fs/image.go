package fs

import (
	"context"
	"errors"
	"os"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// image returns the tree image of spec, and adds it to the store if that has none. layers
// are those of devicesOf(spec).
func (f *FileSystem) image(ctx context.Context, spec store.Spec, layers []Layer) (store.TreeImage, error) {
	image, err := f.opts.Images.Tree(ctx, spec)
	if !errors.Is(err, store.ErrNotFound) {
		return image, err
	}
	root, err := f.tree(spec, layers)
	if err != nil {
		return store.TreeImage{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.TreeImage{}, err
	}
	planned, err := erofs.Plan(root, deviceSizes(layers))
	if err != nil {
		return store.TreeImage{}, err
	}
	return f.opts.Images.AddTree(ctx, spec, planned.Numbers(), func(file *os.File, image store.TreeImage) error {
		_, err := planned.Write(file, image.FirstInode)
		return err
	})
}

func deviceSizes(layers []Layer) []int64 {
	sizes := make([]int64, len(layers))
	for i, l := range layers {
		sizes[i] = exportedSize(l)
	}
	return sizes
}

// tree returns the tree of spec. layers are those of devicesOf(spec). It reads only
// indexes.
func (f *FileSystem) tree(spec store.Spec, layers []Layer) (*tree.Inode, error) {
	switch spec.Kind {
	case store.Diff:
		return f.diff(spec)
	case store.Stack:
		return f.stacked(spec)
	}
	roots, err := treesOf(layers)
	if err != nil {
		return nil, err
	}
	if spec.Kind == store.AsIs {
		return roots[0], nil
	}
	return tree.Merge(roots...), nil
}

func treesOf(layers []Layer) ([]*tree.Inode, error) {
	roots := make([]*tree.Inode, len(layers))
	for i, l := range layers {
		var err error
		if roots[i], err = l.Tree(); err != nil {
			return nil, err
		}
	}
	return roots, nil
}

func (f *FileSystem) openLayers(ids []store.ID) ([]Layer, error) {
	layers := make([]Layer, 0, len(ids))
	for _, id := range ids {
		l, err := f.opts.Layers(id)
		if err != nil {
			return nil, errors.Join(err, closeLayers(layers))
		}
		layers = append(layers, l)
	}
	return layers, nil
}

func closeLayers(layers []Layer) error {
	var errs []error
	for _, l := range layers {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
