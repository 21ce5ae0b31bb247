package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"

	"github.com/ladle-dev/ladle/inflate"
)

// Table is the chunks of an index in a form that can be mapped into memory:
// fixed-size records ordered by DataOffset, and windows of points. It keeps a daemon small
// however many layers it serves. It has all that is needed to read a layer's bytes.
//
// The encoded form is tableMagic and the CRC-32C of what follows; then the
// prefetch size and the compression, padded with zeros to 8 bytes; then the
// records: the fields of Chunk in their order; then, only for the compressions Points and Spans, the
// list of points (see inflate.Encoder) and its length. Numbers have 64 bits, little-endian.
type Table struct {
	records     []byte
	compression Compression
	prefetch    int64
	points      *inflate.List // nil: none
	list        []byte        // of which points are decoded
}

const (
	tableMagic  = "ladleCT1"
	tableSummed = 16 // where that starts which the checksum is of
	tableHeader = 32
	recordSize  = 5*8 + 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeTable returns the table of x.
func EncodeTable(x *Index) []byte {
	b := make([]byte, tableHeader, tableHeader+len(x.Chunks)*recordSize)
	copy(b, tableMagic)
	binary.LittleEndian.PutUint64(b[tableSummed:], uint64(x.PrefetchSize))
	copy(b[tableSummed+8:tableHeader], x.Compression)
	for i := range x.Chunks {
		c := &x.Chunks[i]
		for _, n := range [...]int64{c.DataOffset, c.Size, c.BlobOffset, c.BlobEnd, c.InnerOffset} {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		b = append(b, c.Digest[:]...)
	}
	if x.Compression.hasPoints() {
		b = append(b, x.Points...)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(x.Points)))
	}
	binary.LittleEndian.PutUint64(b[len(tableMagic):], tableSum(b))
	return b
}

// tableSum returns the checksum that the header of b should have.
func tableSum(b []byte) uint64 { return uint64(crc32.Checksum(b[tableSummed:], castagnoli)) }

// DecodeTable checks b, which the table keeps, and returns the table in it.
// Its chunks are in the order, and within the bounds, that Chunk promises, and each is in a
// stream that begins at a point, if there are points. Windows of points are not looked at.
func DecodeTable(b []byte) (Table, error) {
	if len(b) < tableHeader || string(b[:len(tableMagic)]) != tableMagic {
		return Table{}, errors.New("chunk table: not one")
	}
	t := Table{
		records:     b[tableHeader:],
		compression: Compression(bytes.TrimRight(b[tableSummed+8:tableHeader], "\x00")),
		prefetch:    number(b[tableSummed:], 0),
	}
	if tableSum(b) != binary.LittleEndian.Uint64(b[len(tableMagic):]) {
		return Table{}, errors.New("chunk table: damaged")
	}
	if !slices.Contains([]Compression{Gzip, Zstd, Plain, Points, Spans, Whole}, t.compression) || t.prefetch < 0 {
		return Table{}, fmt.Errorf("chunk table: compression %q, prefetch of %d bytes", t.compression, t.prefetch)
	}
	if err := t.splitPoints(); err != nil {
		return Table{}, fmt.Errorf("chunk table: %w", err)
	}
	if len(t.records)%recordSize != 0 {
		return Table{}, errors.New("chunk table: not one")
	}
	if err := t.check(); err != nil {
		return Table{}, fmt.Errorf("chunk table: %w", err)
	}
	return t, nil
}

// check returns an error if chunks are not as DecodeTable promises.
func (t Table) check() error {
	var last Chunk
	for i := range t.Len() {
		c := t.At(i)
		err := c.check()
		if err == nil && i > 0 {
			err = last.checkNext(&c, t.compression)
		}
		if err == nil && t.points != nil && t.pointOf(&c) < 0 {
			err = fmt.Errorf("no point at %d of the blob", c.BlobOffset)
		}
		if err != nil {
			return err
		}
		last = c
	}
	return nil
}

// Compression returns how the streams of the blob are compressed.
func (t Table) Compression() Compression { return t.compression }

// PrefetchSize returns the PrefetchSize of the index.
func (t Table) PrefetchSize() int64 { return t.prefetch }

// Len returns the number of chunks.
func (t Table) Len() int { return len(t.records) / recordSize }

// At returns the i-th chunk.
func (t Table) At(i int) Chunk {
	r := t.records[i*recordSize:][:recordSize]
	c := Chunk{
		DataOffset:  number(r, 0),
		Size:        number(r, 1),
		BlobOffset:  number(r, 2),
		BlobEnd:     number(r, 3),
		InnerOffset: number(r, 4),
	}
	copy(c.Digest[:], r[5*8:])
	return c
}

// Search returns the least i such that the i-th chunk ends behind off; it
// returns Len if there is none.
func (t Table) Search(off int64) int {
	return sort.Search(t.Len(), func(i int) bool {
		r := t.records[i*recordSize:]
		return number(r, 0)+number(r, 1) > off
	})
}

// searchBlob returns the least i such that the stream of the i-th chunk begins at or behind
// off of the blob; it returns Len if there is none.
func (t Table) searchBlob(off int64) int {
	return sort.Search(t.Len(), func(i int) bool { return number(t.records[i*recordSize:], 2) >= off })
}

func number(record []byte, i int) int64 {
	return int64(binary.LittleEndian.Uint64(record[8*i:]))
}
