package index

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/ladle-dev/ladle/inflate"
)

// span is a stream of Spans in memory.
type span struct {
	compressed []byte
	in         bytes.Reader // of them
	inflate.Reader
}

// keptSpan bounds the buffers of spans that are kept for others: spans of SOCI have about 2 MiB.
const keptSpan = 8 << 20

var spans = sync.Pool{New: func() any { return new(span) }}

// newSpan is Table.NewReader for Spans: it reads the whole stream of c, which begins at p, and
// verifies it before any of it is decompressed.
func newSpan(r *bufio.Reader, c Chunk, p inflate.Point) (io.ReadCloser, error) {
	s := spans.Get().(*span)
	if err := s.reset(r, c, p); err != nil {
		s.release()
		return nil, err
	}
	return &stream{&s.Reader, s.release}, nil
}

func (s *span) release() {
	if cap(s.compressed) <= keptSpan {
		spans.Put(s)
	}
}

func (s *span) reset(r io.Reader, c Chunk, p inflate.Point) error {
	size := int(c.BlobEnd - c.BlobOffset)
	if cap(s.compressed) < size {
		s.compressed = make([]byte, size)
	}
	s.compressed = s.compressed[:size]
	if _, err := io.ReadFull(r, s.compressed); err != nil {
		return unexpected(err)
	}
	if sum := sha256.Sum256(s.compressed); sum != c.Digest {
		return fmt.Errorf("the bytes [%d,%d) of the blob have the digest sha256:%x, and not sha256:%x", c.BlobOffset, c.BlobEnd, sum, c.Digest)
	}
	rest := s.compressed
	if p.Bits > 0 {
		p.Head = rest[0] >> (8 - p.Bits)
		rest = rest[1:]
	}
	s.in.Reset(rest)
	if err := s.ResetAt(&s.in, p, math.MaxInt64); err != nil {
		return fmt.Errorf("%w: %w", ErrPoints, err)
	}
	return nil
}

// Memory returns how many bytes of memory the reader of the stream of c will take, of which r is at
// the first byte. It reads the stream's first bytes into the buffer of r.
func (t Table) Memory(r *bufio.Reader, c Chunk) int64 {
	n := t.compression.Memory(r)
	if t.compression.sealsStreams() {
		n += c.BlobEnd - c.BlobOffset
	}
	return n
}

// SealsStreams reports whether the digest of a chunk is that of its compressed stream, which
// NewReader compares, and not of the chunk.
func (t Table) SealsStreams() bool { return t.compression.sealsStreams() }
