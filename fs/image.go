package fs

import (
	"context"
	"errors"
	"os"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// The range of inode numbers that a tree image has to itself if it may be
// stacked with others: the tree number modulo numberRanges times nidsPerLayer. EROFS numbers count
// slots of 32 bytes (Linux fs/erofs, EROFS_ISLOTBITS) from the start of the
// image, so that the last range ends at 4 TiB of a sparse file, within what
// ext4 can hold. A layer takes about four numbers for an inode.
const (
	nidsPerLayer = 1 << 22
	numberRanges = 1 << 15
)

// Where ranges begin: above the inode numbers of upper directories on ext4, which
// has at most 1<<32 and in practice far less. BuildKit's copier takes files with
// several links for one file if only their inode numbers are equal, on whatever
// filesystems they are (tonistiigi/fsutil copy/hardlink.go). Of trees that are
// lowest there is one in a stack, and 32-bit programs run on them.
const (
	lowestNID = 1 << 31
	firstNID  = 1 << 32
)

// image returns the tree image that spec says, making it if the store has none.
// layers are those of devicesOf.
func (f *FileSystem) image(ctx context.Context, spec store.Spec, layers []Layer) (store.TreeImage, error) {
	image, err := f.opts.Images.Tree(spec)
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
	return f.opts.Images.AddTree(spec, func(file *os.File, number uint64) error {
		_, err := erofs.Write(file, root, imageOptions(spec, layers, number))
		return err
	})
}

func imageOptions(spec store.Spec, layers []Layer, number uint64) erofs.Options {
	opts := erofs.Options{Devices: deviceSizes(layers), FirstNID: lowestNID}
	if spec.Kind != store.Lowest {
		opts.FirstNID = firstNID + number%numberRanges*nidsPerLayer
	}
	return opts
}

func deviceSizes(layers []Layer) []int64 {
	sizes := make([]int64, len(layers))
	for i, l := range layers {
		sizes[i] = exportedSize(l)
	}
	return sizes
}

// tree returns the tree that spec says. layers are those of devicesOf. It reads
// indexes only.
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
