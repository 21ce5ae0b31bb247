package index

import (
	"fmt"
	"slices"
)

// Restore returns the index of which chunks and entries are the encoded forms, as EncodeTable
// and EncodeTree make them. These have neither DataSize nor the digests of the TOC.
func Restore(chunks, entries []byte) (*Index, error) {
	table, err := DecodeTable(chunks)
	if err != nil {
		return nil, fmt.Errorf("restore index: %w", err)
	}
	root, err := DecodeTree(entries)
	if err != nil {
		return nil, fmt.Errorf("restore index: %w", err)
	}
	x := &Index{
		Root: root, Chunks: make([]Chunk, table.Len()), Compression: table.compression,
		Points: slices.Clone(table.list), PrefetchSize: table.prefetch,
	}
	for i := range x.Chunks {
		x.Chunks[i] = table.At(i)
	}
	return x, nil
}

// largestStream is how many bytes of the blob a stream may have, that is fetched for one chunk.
const largestStream = 8 << 20

// Resumes reports whether a chunk of the layer can be fetched without most of the blob: it is in a
// stream of its own, or in one of several of bounded size. Else the table is of no use without
// the layer's data.
func (t Table) Resumes() bool {
	switch t.compression {
	case Plain, Points:
		return true
	case Gzip, Zstd:
		first := true
		for i := range t.Len() {
			c := t.At(i)
			if c.BlobEnd-c.BlobOffset > largestStream {
				return false
			}
			first = first && c.BlobOffset == 0
		}
		return !first
	}
	return false
}
