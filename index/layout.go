package index

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/ladle-dev/ladle/tree"
)

// layOut gives the files that are in the tree their places in the data file,
// in the order in which they are in the blob, and returns the chunks and the
// size in bytes of the data file.
func (c *contents) layOut() ([]Chunk, int64, error) {
	streams := c.streams()
	zeros := c.zeros()
	files := c.inTree()
	chunks := make([]Chunk, 0, len(c.pieces))
	var size int64
	for _, f := range files {
		f.inode.Data = tree.Extent{Offset: size}
		for _, p := range c.pieces[f.first:f.next] {
			if p.zeros || zeros.has(&p) {
				continue
			}
			if p.size > MaxChunkSize {
				return nil, 0, fmt.Errorf("%.300q has a chunk of %d bytes, of at most %d", f.name, p.size, MaxChunkSize)
			}
			chunks = append(chunks, Chunk{
				DataOffset: size + p.off, Size: p.size,
				BlobOffset: p.blob, BlobEnd: streams.end(p.blob), InnerOffset: p.inner,
				Digest: p.digest,
			})
		}
		if size = align(size + f.size); size > maxFile {
			return nil, 0, fmt.Errorf("files of more than %d bytes", int64(maxFile))
		}
	}
	return slices.Clip(chunks), size, checkOrder(chunks, "")
}

// inTree returns the files that are in the tree, in the order of the blob.
func (c *contents) inTree() []file {
	files := make([]file, 0, len(c.files))
	for _, f := range c.files {
		if f.inode != nil && f.inode.Nlink > 0 {
			files = append(files, f)
		}
	}
	slices.SortStableFunc(files, func(a, b file) int {
		p, q := &c.pieces[a.first], &c.pieces[b.first]
		return cmp.Or(cmp.Compare(p.blob, q.blob), cmp.Compare(p.inner, q.inner))
	})
	return files
}

// checkOrder makes sure of the order that the documentation of Chunk promises, for streams with
// the compression how.
func checkOrder(chunks []Chunk, how Compression) error {
	for i := range chunks {
		if err := chunks[i].check(); err != nil {
			return err
		}
		if i > 0 {
			if err := chunks[i-1].checkNext(&chunks[i], how); err != nil {
				return err
			}
		}
	}
	return nil
}

// check makes sure that no number in c is out of bounds and that sums of them
// do not overflow.
func (c *Chunk) check() error {
	switch {
	case c.Size <= 0 || c.Size > MaxChunkSize:
		return fmt.Errorf("chunk of %d bytes", c.Size)
	case c.DataOffset < 0 || c.DataOffset > maxFile-c.Size:
		return fmt.Errorf("chunk at %d of the data file", c.DataOffset)
	case c.BlobOffset < 0 || c.BlobEnd <= c.BlobOffset:
		return fmt.Errorf("chunk in the stream [%d,%d)", c.BlobOffset, c.BlobEnd)
	case c.InnerOffset < 0 || c.InnerOffset > maxInner:
		return fmt.Errorf("chunk at %d of its stream", c.InnerOffset)
	}
	return nil
}

// checkNext makes sure that next comes behind c in data file and blob.
func (c *Chunk) checkNext(next *Chunk, how Compression) error {
	if next.DataOffset < c.DataOffset+c.Size {
		return fmt.Errorf("chunks overlap at %d of the data file", next.DataOffset)
	}
	if next.BlobOffset != c.BlobOffset {
		if next.BlobOffset < c.BlobOffset || next.BlobOffset < c.BlobEnd-how.overlap() {
			return fmt.Errorf("stream at %d of the blob is before the end of another", next.BlobOffset)
		}
		return nil
	}
	if next.BlobEnd != c.BlobEnd || next.InnerOffset < c.InnerOffset+c.Size {
		return fmt.Errorf("chunks overlap in the stream at %d of the blob", c.BlobOffset)
	}
	return nil
}

// streams says where the streams of a blob end.
type streams struct {
	starts  []int64         // ascending, and the end of the payload
	endings map[int64]int64 // by start, where the TOC says it
}

// streams returns the streams of all pieces, also of files that are not in
// the tree.
func (c *contents) streams() streams {
	s := streams{endings: map[int64]int64{}}
	for _, p := range c.pieces {
		s.starts = append(s.starts, p.blob)
	}
	s.starts = append(s.starts, c.payload)
	slices.Sort(s.starts)
	s.starts = slices.Compact(s.starts)
	for _, f := range c.files {
		if f.end != 0 {
			s.endings[c.pieces[f.next-1].blob] = f.end
		}
	}
	return s
}

// end returns where the stream at start ends: where the TOC says so, but at
// the latest where the next one starts.
func (s *streams) end(start int64) int64 {
	i, _ := slices.BinarySearch(s.starts, start+1)
	end := s.starts[i]
	if told := s.endings[start]; told > start && told < end {
		end = told
	}
	return end
}

// zeroSum is the digest of so many zeros.
type zeroSum map[int64][sha256.Size]byte

func (z zeroSum) has(p *piece) bool {
	sum, ok := z[p.size]
	return ok && sum == p.digest
}

const (
	minZeros    = 64 << 10  // bytes of chunks that are worth being recognised
	zerosBudget = 256 << 20 // bytes to hash at most
)

// zeros returns the digests of pieces that consist of zeros, by size. Hashing zeros of each
// size would take long, so a size is tried only if two pieces of it have the same digest, or
// if it is larger than any chunk with content: containers/storage makes one piece of a file
// of zeros.
func (c *contents) zeros() zeroSum {
	sums := zeroSum{}
	seen := map[[sha256.Size]byte]bool{}
	block := make([]byte, minZeros)
	budget := int64(zerosBudget)
	for i := range c.pieces {
		p := &c.pieces[i]
		if p.size < minZeros || p.size > budget || p.zeros {
			continue
		}
		if _, known := sums[p.size]; !known && (seen[p.digest] || p.size > MaxChunkSize) {
			budget -= p.size
			sums[p.size] = sumZeros(p.size, block)
		}
		seen[p.digest] = true
	}
	return sums
}

// sumZeros returns the digest of n zeros. block has zeros, at least one, which are hashed
// again and again.
func sumZeros(n int64, block []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	for ; n > 0; n -= int64(len(block)) {
		h.Write(block[:min(n, int64(len(block)))])
	}
	h.Sum(sum[:0])
	return sum
}
