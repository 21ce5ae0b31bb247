package index

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/ladle-dev/ladle/tree"
)

// The columns of an encoded document have the numbers of its chunks, and are, one behind the
// other, each for all chunks in order:
//
//	gap     where the chunk is in the data file: 0 at the end of the chunk before, 1+2n behind
//	        n whole blocks from the next boundary of a block on, 2n behind n bytes
//	size    Size
//	stream  0 for the stream of the chunk before, 1+n for one that begins n bytes from where it
//	        is expected
//	inner   InnerOffset, from where it is expected
//	end     only for a chunk with a stream other than 0: BlobEnd, from where it is expected
//
// Differences from what is expected have a sign, as in binary.AppendVarint. What is expected
// follows from the chunk before: a tar has a header of 512 bytes before the contents of a
// file, and fills these up to the next multiple of 512. So nearly all numbers but sizes are 0.
const tarBlock = 512

// expectation is what is expected of a chunk. The zero value expects the first one.
type expectation struct {
	plain bool  // the stream of a chunk is the chunk
	last  Chunk // the chunk before
	phase int64 // InnerOffset modulo tarBlock at which the headers of a tar are in its stream
}

// gap returns the gap of a chunk at off of the data file.
func (e *expectation) gap(off int64) uint64 {
	end := e.last.DataOffset + e.last.Size
	next := align(end)
	if off != end && off >= next && off == align(off) {
		return 1 + 2*uint64((off-next)/tree.BlockSize)
	}
	return 2 * uint64(off-end)
}

// dataOffset is the inverse of gap.
func (e *expectation) dataOffset(gap int64) int64 {
	end := e.last.DataOffset + e.last.Size
	if gap&1 == 1 {
		return align(end) + gap/2*tree.BlockSize
	}
	return end + gap/2
}

// blobOffset returns where another stream is expected to begin.
func (e *expectation) blobOffset() int64 {
	if e.plain {
		return roundUp(e.last.BlobEnd, 0) + tarBlock
	}
	return e.last.BlobEnd
}

// blobEnd returns where the stream of c is expected to end.
func (e *expectation) blobEnd(c *Chunk) int64 {
	if e.plain {
		return c.BlobOffset + c.Size
	}
	return c.BlobOffset
}

// innerOffset returns that which is expected of c.
func (e *expectation) innerOffset(c *Chunk) int64 {
	if c.BlobOffset != e.last.BlobOffset || e.last.Size == 0 {
		return 0
	}
	end := e.last.InnerOffset + e.last.Size
	if c.DataOffset == e.last.DataOffset+e.last.Size {
		return end
	}
	return roundUp(end, e.phase) + tarBlock
}

// seen makes c the chunk before.
func (e *expectation) seen(c *Chunk) {
	if c.DataOffset != e.last.DataOffset+e.last.Size {
		e.phase = c.InnerOffset % tarBlock
	}
	e.last = *c
}

// roundUp returns the least number that is not below n and is phase modulo tarBlock.
func roundUp(n, phase int64) int64 { return n + (phase-n%tarBlock+tarBlock)%tarBlock }

// encodeColumns returns the columns of chunks, which are in order.
func encodeColumns(chunks []Chunk, compression Compression) []byte {
	var gaps, sizes, streams, inners, ends []byte
	e := expectation{plain: compression == Plain}
	for i := range chunks {
		c := &chunks[i]
		gaps = binary.AppendUvarint(gaps, e.gap(c.DataOffset))
		sizes = binary.AppendUvarint(sizes, uint64(c.Size))
		if i > 0 && c.BlobOffset == e.last.BlobOffset {
			streams = append(streams, 0)
		} else {
			streams = binary.AppendUvarint(streams, 1+zigzag(c.BlobOffset-e.blobOffset()))
			ends = binary.AppendVarint(ends, c.BlobEnd-e.blobEnd(c))
		}
		inners = binary.AppendVarint(inners, c.InnerOffset-e.innerOffset(c))
		e.seen(c)
	}
	var b []byte
	for _, column := range [][]byte{gaps, sizes, streams, inners, ends} {
		b = append(b, column...)
	}
	return b
}

// columnBytes is the most bytes that the columns of a chunk have, as far as decodeColumns
// takes them: numbers of 45 bits, and of 27.
const columnBytes = 4*7 + 4

// maxNumber is the largest number in columns.
const maxNumber = 4 * maxFile

var errColumns = errors.New("chunks: not what a document has")

// chunks reads the chunks of a document.
func (f *fields) chunks(compression Compression) ([]Chunk, error) {
	n := int(f.number(uint64(len(f.rest) / sha256.Size)))
	columns, err := decompressFrame(f.text(), int64(n)*columnBytes)
	sums := f.bytes(n * sha256.Size)
	if err == nil && f.failed {
		err = errColumns
	}
	if err != nil || n == 0 {
		return nil, err
	}
	chunks := make([]Chunk, n)
	for i := range chunks {
		copy(chunks[i].Digest[:], sums[i*sha256.Size:])
	}
	return chunks, decodeColumns(columns, chunks, compression)
}

// decodeColumns sets all fields of chunks but the digests.
func decodeColumns(columns string, chunks []Chunk, compression Compression) error {
	f := fields{rest: columns}
	for _, field := range []func(c *Chunk) *int64{
		func(c *Chunk) *int64 { return &c.DataOffset },
		func(c *Chunk) *int64 { return &c.Size },
		func(c *Chunk) *int64 { return &c.BlobOffset },
		func(c *Chunk) *int64 { return &c.InnerOffset },
	} {
		for i := range chunks {
			*field(&chunks[i]) = int64(f.number(maxNumber))
		}
	}
	e := expectation{plain: compression == Plain}
	for i := range chunks {
		c := &chunks[i]
		c.DataOffset = e.dataOffset(c.DataOffset)
		stream, inner := uint64(c.BlobOffset), unzigzag(uint64(c.InnerOffset))
		if stream == 0 {
			c.BlobOffset, c.BlobEnd = e.last.BlobOffset, e.last.BlobEnd
		} else {
			c.BlobOffset = e.blobOffset() + unzigzag(stream-1)
			c.BlobEnd = e.blobEnd(c) + unzigzag(f.number(maxNumber))
		}
		c.InnerOffset = e.innerOffset(c) + inner
		if err := c.check(); err != nil {
			return err
		}
		if c.BlobEnd > maxFile { // the sums that follow do not overflow
			return errColumns
		}
		e.seen(c)
	}
	if f.failed || f.rest != "" {
		return errColumns
	}
	return nil
}

// zigzag is how binary.AppendVarint writes a number with a sign.
func zigzag(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }

func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }
