package layer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"io"

	"github.com/ladle-dev/ladle/index"
)

// spanSums is the blob of a layer whose index has the digests of compressed streams, and none of
// chunks. It decompresses each stream from its point, as a run does, so that what the point makes of
// the stream can be compared with what the blob is. That costs decompressing twice.
type spanSums struct {
	io.ReadCloser
	layer *Layer
	// sums are the digests of the chunks. Those of a stream are there before Read returns any byte
	// of it; they are zeros if the stream is not what the index says.
	sums [][sha256.Size]byte

	block  [32 << 10]byte
	held   bytes.Buffer // bytes that were read, and not returned yet
	err    error        // of reading: it is behind held
	next   int          // the chunk whose stream is next in the blob
	stream []byte       // its bytes so far
	shared int          // how many of these are of the stream before, too
	pos    int64        // in the blob
	in     *bufio.Reader
}

func newSpanSums(l *Layer, blob io.ReadCloser) *spanSums {
	return &spanSums{
		ReadCloser: blob, layer: l, sums: make([][sha256.Size]byte, l.table.Len()), in: bufio.NewReaderSize(nil, blockSize),
	}
}

// Read implements io.Reader.
func (s *spanSums) Read(p []byte) (int, error) {
	for s.free() == 0 && s.err == nil {
		var n int
		n, s.err = s.ReadCloser.Read(s.block[:])
		s.held.Write(s.block[:n])
		s.pass(s.block[:n])
	}
	if n := s.free(); n > 0 {
		return s.held.Read(p[:min(len(p), n)])
	}
	return 0, s.err
}

// free returns how many bytes of held may be returned: those of a stream only when it is complete.
func (s *spanSums) free() int {
	if s.err != nil {
		return s.held.Len()
	}
	return s.held.Len() - (len(s.stream) - s.shared)
}

// pass takes the next bytes of the blob.
func (s *spanSums) pass(p []byte) {
	for len(p) > 0 && s.next < s.layer.table.Len() {
		c := s.layer.table.At(s.next)
		if gap := min(c.BlobOffset-s.pos, int64(len(p))); gap > 0 {
			p, s.pos = p[gap:], s.pos+gap
			continue
		}
		n := min(c.BlobEnd-s.pos, int64(len(p)))
		s.stream = append(s.stream, p[:n]...)
		p, s.pos = p[n:], s.pos+n
		if s.pos == c.BlobEnd {
			s.endStream(c)
		}
	}
	s.pos += int64(len(p))
}

// endStream notes the digests of the chunks of c's stream, which is complete.
func (s *spanSums) endStream(c index.Chunk) {
	s.in.Reset(bytes.NewReader(s.stream))
	first, end := s.next, s.next
	for end < s.layer.table.Len() && s.layer.table.At(end).BlobOffset == c.BlobOffset {
		end++
	}
	if plain, err := s.layer.table.NewReader(s.in, c); err == nil {
		s.sum(plain, first, end)
		plain.Close()
	}
	s.next, s.shared = end, 0
	if end < s.layer.table.Len() && s.layer.table.At(end).BlobOffset < s.pos {
		s.shared = 1
	}
	s.stream = append(s.stream[:0], s.stream[len(s.stream)-s.shared:]...)
}

// sum notes the digests of the chunks [first, end), whose stream is plain.
func (s *spanSums) sum(plain io.Reader, first, end int) {
	pos := int64(0)
	sum := sha256.New()
	for n := first; n < end; n++ {
		c := s.layer.table.At(n)
		if _, err := io.CopyN(io.Discard, plain, c.InnerOffset-pos); err != nil {
			return
		}
		sum.Reset()
		if _, err := io.CopyN(sum, plain, c.Size); err != nil {
			return
		}
		sum.Sum(s.sums[n][:0])
		pos = c.InnerOffset + c.Size
	}
}
