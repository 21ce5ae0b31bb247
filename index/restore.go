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

// Resumes reports whether a chunk of an imported layer can be decompressed without most of what
// comes before it in the blob. Else its index is of no use without the data.
func (c Compression) Resumes() bool { return c == Plain || c == Points }
