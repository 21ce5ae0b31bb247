package layer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/ladle-dev/ladle/index"
)

// errWrongBytes is the error of bytes that do not match the index.
var errWrongBytes = errors.New("wrong bytes")

// wrongStream is errWrongBytes with the range of the wrong bytes in the blob.
type wrongStream struct {
	error
	from, to int64
}

func (w *wrongStream) Unwrap() error { return w.error }

// verify compares the digest of p, the bytes of c, with that of c. If streams are sealed it was
// compared before p was decompressed.
func (l *Layer) verify(c index.Chunk, p []byte) error {
	if l.table.SealsStreams() {
		return nil
	}
	return verify(c, p)
}

// verify compares the digest of p with that of c.
func verify(c index.Chunk, p []byte) error {
	if got := sha256.Sum256(p); !bytes.Equal(got[:], c.Digest[:]) {
		return fmt.Errorf("%w: chunk at %d of the blob has digest sha256:%x, want sha256:%x", errWrongBytes, c.BlobOffset, got, c.Digest)
	}
	return nil
}

// input is the bytes of a blob from an offset on. Its buffer has the type for which
// decompressors have a fast path.
type input struct {
	*bufio.Reader
	body *body
}

// newInput returns the bytes of r; the first is at off of the blob.
func newInput(buffer *bufio.Reader, r io.Reader, off int64) input {
	b := &body{r: r, pos: off}
	buffer.Reset(b)
	return input{buffer, b}
}

// body counts the bytes that are read of an answer.
type body struct {
	r   io.Reader
	pos int64 // offset of the next byte in the blob
	err error // of r, except io.EOF
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.pos += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// left returns the number of bytes before the one at off of the blob.
func (in input) left(off int64) int64 { return off - in.body.pos + int64(in.Buffered()) }

// skipTo discards bytes up to off of the blob. If a stream has read beyond off, the blob
// or its index is wrong.
func (in input) skipTo(off int64) error {
	n := in.left(off)
	if n == -1 && in.UnreadByte() == nil {
		return nil // two streams have the byte in common
	}
	if n < 0 {
		return fmt.Errorf("%w: a stream reaches behind %d of the blob", errWrongBytes, off)
	}
	if _, err := in.Discard(int(n)); err != nil {
		return in.fault(err)
	}
	return nil
}

// fault returns the error of the connection, if it is the reason for err, else
// errWrongBytes.
func (in input) fault(err error) error {
	if in.body.err != nil {
		return in.body.err
	}
	return fmt.Errorf("%w: %w", errWrongBytes, err)
}

// stream is one compressed stream of a blob.
type stream struct {
	in      input
	table   index.Table
	first   index.Chunk   // one of its chunks
	stretch bool          // in has just the bytes of a stretch, which is read to its end
	rest    io.Writer     // for what is between chunks
	plain   io.ReadCloser // nil before the first read
	pos     int64         // in the decompressed bytes
}

// read fills p with the decompressed bytes at off, which is not before the end of the
// last read. The error is errWrongBytes for bytes that cannot be decompressed, that of the
// connection, or index.ErrPoints.
func (s *stream) read(p []byte, off int64) error {
	err := s.decompress(p, off)
	if err == nil || errors.Is(err, index.ErrPoints) {
		return err
	}
	return s.in.fault(err)
}

func (s *stream) decompress(p []byte, off int64) (err error) {
	if err := s.seek(off); err != nil {
		return err
	}
	s.pos = off + int64(len(p))
	_, err = io.ReadFull(s.plain, p)
	return err
}

// seek reads up to the decompressed byte at off.
func (s *stream) seek(off int64) (err error) {
	if s.plain == nil {
		if s.stretch {
			s.plain, err = s.table.Compression().NewStretch(s.in.Reader)
		} else {
			s.plain, err = s.table.NewReader(s.in.Reader, s.first)
		}
		if err != nil {
			return err
		}
	}
	_, err = io.CopyN(s.rest, s.plain, off-s.pos)
	s.pos = off
	return err
}

// skip reads the size decompressed bytes at off, which are not wanted.
func (s *stream) skip(off, size int64) error {
	err := s.seek(off)
	if err == nil {
		_, err = io.CopyN(io.Discard, s.plain, size)
		s.pos += size
	}
	if err != nil {
		return s.in.fault(err)
	}
	return nil
}

func (s *stream) close() {
	if s.plain != nil {
		s.plain.Close()
	}
}
