package fs

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// comparison compares the contents of files by the digests of their chunks, without
// reading data.
type comparison struct {
	images       Images
	lower, upper []store.ID // the layers of the compared trees
	open         map[store.ID]*store.Layer
	tables       map[store.ID]index.Table
	err          error // of loading a table; results of same are then invalid
}

func newComparison(images Images, spec store.Spec) *comparison {
	return &comparison{
		images: images, lower: spec.Lower, upper: spec.Layers,
		open: map[store.ID]*store.Layer{}, tables: map[store.ID]index.Table{},
	}
}

// same reports whether regular files of the same size are known to have the same content:
// they are at the same place of one data file, or consist of the same chunks.
func (c *comparison) same(lower, upper *tree.Inode) bool {
	a, b := c.lower[lower.Data.Layer], c.upper[upper.Data.Layer]
	if a == b && lower.Data.Offset == upper.Data.Offset {
		return true
	}
	tableA, tableB := c.table(a), c.table(b)
	return c.err == nil && slices.Equal(chunksOf(tableA, lower), chunksOf(tableB, upper))
}

// chunksOf returns the chunks of a file with their offsets in the file, sizes and
// digests. Bytes that no chunk has are zeros.
func chunksOf(t index.Table, file *tree.Inode) []index.Chunk {
	var chunks []index.Chunk
	for i := t.Search(file.Data.Offset); i < t.Len(); i++ {
		c := t.At(i)
		if c.DataOffset >= file.Data.Offset+file.Size {
			break
		}
		chunks = append(chunks, index.Chunk{DataOffset: c.DataOffset - file.Data.Offset, Size: c.Size, Digest: c.Digest})
	}
	return chunks
}

// table returns the chunk table of a layer. If that fails it sets c.err.
func (c *comparison) table(id store.ID) index.Table {
	t, ok := c.tables[id]
	if ok || c.err != nil {
		return t
	}
	layer, err := c.images.Layer(id)
	if err != nil {
		c.err = err
		return t
	}
	c.open[id] = layer
	if t, err = index.DecodeTable(layer.Chunks()); err != nil {
		c.err = fmt.Errorf("layer %s: %w", id.Blob, err)
	}
	c.tables[id] = t
	return t
}

// end closes the layers and returns the error of the comparison.
func (c *comparison) end() error {
	err := c.err
	for _, l := range c.open {
		err = errors.Join(err, l.Close())
	}
	return err
}
