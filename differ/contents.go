package differ

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/ladle-dev/ladle/store"
)

// contents compares files with what the indexes of lazily read layers say of theirs.
type contents struct {
	layers Layers
	lowers []lowerdir // the lower side of a pair, the topmost first
}

// same reports whether the file path of the lower side, which is lower, has the content of
// upper, which is as large. known is false if that is not known without reading the file.
func (c contents) same(ctx context.Context, path string, lower fs.FileInfo, upper io.ReaderAt) (same, known bool, err error) {
	id, ok, err := c.layerOf(path, lower)
	if !ok || err != nil {
		return false, false, err
	}
	l, err := c.layers.Layer(id)
	if err != nil {
		return false, false, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	file, err := l.File(path)
	if err != nil || file == nil || file.Size != lower.Size() {
		return false, false, err
	}
	return l.Matches(ctx, file, upper)
}

// layerOf returns the layer that has the regular file at path, which the lower side shows: the
// topmost directory that has that name has it. ok is false if that is no tree of one layer.
func (c contents) layerOf(path string, lower fs.FileInfo) (id store.ID, ok bool, err error) {
	for _, l := range c.lowers {
		info, err := lstat(filepath.Join(l.path, path))
		if err != nil {
			return id, false, err
		}
		if info == nil {
			continue
		}
		ok := len(l.tree.Layers) == 1 && l.tree.Kind < store.Diff && info.Mode() == lower.Mode() &&
			info.Size() == lower.Size() && info.ModTime().Equal(lower.ModTime())
		if !ok {
			return id, false, nil
		}
		return l.tree.Layers[0], true, nil
	}
	return id, false, nil
}
