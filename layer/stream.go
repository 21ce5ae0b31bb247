package layer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ladle-dev/ladle/index"
)

// errWrongBytes is returned for bytes that are not what the index says.
var errWrongBytes = errors.New("wrong bytes")

// verify compares the digest of p with that of c.
func verify(c index.Chunk, p []byte) error {
	if got := sha256.Sum256(p); !bytes.Equal(got[:], c.Digest[:]) {
		return fmt.Errorf("%w: chunk at %d of the blob has digest sha256:%x, want sha256:%x", errWrongBytes, c.BlobOffset, got, c.Digest)
	}
	return nil
}

// input is the bytes of a blob from somewhere on.
type input struct {
	r   *bufio.Reader
	pos int64 // in the blob, of the next byte
}

func (in *input) skipTo(off int64) error {
	n, err := io.CopyN(io.Discard, in.r, off-in.pos)
	in.pos += n
	return err
}

// stream is one compressed stream of a blob, which ends before the byte at
// end. It reads no further, so that the next stream can be found behind it.
type stream struct {
	in          *input
	end         int64
	compression index.Compression
	plain       io.ReadCloser // nil before the first read
	pos         int64         // in the decompressed bytes
}

// Read and ReadByte make a stream the input of its decompressor. With both, a
// decompressor needs no buffer of its own.
func (s *stream) Read(p []byte) (int, error) {
	if s.in.pos >= s.end {
		return 0, io.EOF
	}
	n, err := s.in.r.Read(p[:min(int64(len(p)), s.end-s.in.pos)])
	s.in.pos += int64(n)
	return n, err
}

func (s *stream) ReadByte() (byte, error) {
	if s.in.pos >= s.end {
		return 0, io.EOF
	}
	b, err := s.in.r.ReadByte()
	if err == nil {
		s.in.pos++
	}
	return b, err
}

// read fills p with the decompressed bytes at off, which is not before the
// end of the last read. Bytes that cannot be decompressed are wrong bytes;
// an error of the connection is returned as it is.
func (s *stream) read(p []byte, off int64) error {
	if s.plain == nil {
		plain, err := s.compression.NewReader(s)
		if err != nil {
			return s.fault(err)
		}
		s.plain = plain
	}
	if n, err := io.CopyN(io.Discard, s.plain, off-s.pos); err != nil {
		s.pos += n
		return s.fault(err)
	}
	if _, err := io.ReadFull(s.plain, p); err != nil {
		return s.fault(err)
	}
	s.pos = off + int64(len(p))
	return nil
}

// fault tells errors of the decompressor from those of what it reads.
func (s *stream) fault(err error) error {
	if _, broken := s.in.r.Peek(1); broken != nil && broken != io.EOF && s.in.pos < s.end {
		return broken
	}
	return fmt.Errorf("%w: %w", errWrongBytes, err)
}

func (s *stream) close() {
	if s.plain != nil {
		s.plain.Close()
	}
}

// bufferPool hands out buffers for chunks.
type bufferPool struct{ sync.Pool }

var buffers bufferPool

func (b *bufferPool) get(size int64) []byte {
	if p, ok := b.Get().(*[]byte); ok && int64(cap(*p)) >= size {
		return (*p)[:size]
	}
	return make([]byte, size)
}

func (b *bufferPool) put(p []byte) { b.Put(&p) }
