package fs

import (
	"context"
	"errors"
	"os"

	"github.com/ladle-dev/ladle/erofs"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// The range of inode numbers that the image of a single layer has to itself:
// the tree number modulo numberRanges times nidsPerLayer. EROFS numbers count
// slots of 32 bytes (Linux fs/erofs, EROFS_ISLOTBITS) from the start of the
// image, so that the last range ends at 4 TiB of a sparse file, within what
// ext4 can hold. A layer takes about four numbers for an inode.
const (
	nidsPerLayer = 1 << 22
	numberRanges = 1 << 15
)

// image returns the tree image over layers, making it if the store has none.
func (f *FileSystem) image(ctx context.Context, ids []store.ID, layers []Layer) (store.TreeImage, error) {
	image, err := f.opts.Images.Tree(ids)
	if !errors.Is(err, store.ErrNotFound) {
		return image, err
	}
	root, err := mergedTree(layers)
	if err != nil {
		return store.TreeImage{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.TreeImage{}, err
	}
	return f.opts.Images.AddTree(ids, func(file *os.File, number uint64) error {
		_, err := erofs.Write(file, root, imageOptions(layers, number))
		return err
	})
}

func imageOptions(layers []Layer, number uint64) erofs.Options {
	var opts erofs.Options
	for _, l := range layers {
		opts.Devices = append(opts.Devices, exportedSize(l))
	}
	if len(layers) == 1 {
		opts.FirstNID = number % numberRanges * nidsPerLayer
	}
	return opts
}

// mergedTree returns the tree that layers show together; of a single layer,
// its own with whiteouts and opaque marks.
func mergedTree(layers []Layer) (*tree.Inode, error) {
	roots := make([]*tree.Inode, len(layers))
	for i, l := range layers {
		var err error
		if roots[i], err = l.Tree(); err != nil {
			return nil, err
		}
	}
	if len(roots) == 1 {
		return roots[0], nil
	}
	return tree.Merge(roots...), nil
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
