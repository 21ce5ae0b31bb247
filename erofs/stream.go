package erofs

import "io"

// flushSize is how many bytes a stream gathers before it writes them.
const flushSize = 256 << 10

// stream writes ascending ranges of w. What lies between them is left alone,
// or is overwritten with zeros if it is small.
type stream struct {
	w    io.WriterAt
	buf  []byte
	base int64 // offset in w of the start of buf
	err  error // of the first write that failed; later ones are left out
}

// next returns n zeros that stand for the bytes of w from off on. The caller
// fills them before it calls again.
func (s *stream) next(off int64, n int) []byte {
	end := s.base + int64(len(s.buf))
	if len(s.buf) > 0 && (off-end >= blockSize || len(s.buf) >= flushSize) {
		s.flush()
	}
	if len(s.buf) == 0 {
		s.base = off
	}
	from := int(off - s.base)
	s.grow(from + n)
	return s.buf[from:]
}

// grow makes the buffer n bytes long; the new ones are zeros.
func (s *stream) grow(n int) {
	old := len(s.buf)
	if n > cap(s.buf) {
		bigger := make([]byte, old, max(n, flushSize+2*blockSize))
		copy(bigger, s.buf)
		s.buf = bigger
	}
	s.buf = s.buf[:n]
	clear(s.buf[old:])
}

// flush writes what is gathered.
func (s *stream) flush() {
	if s.err == nil && len(s.buf) > 0 {
		_, s.err = s.w.WriteAt(s.buf, s.base)
	}
	s.base += int64(len(s.buf))
	s.buf = s.buf[:0]
}

// finish writes all, with zeros up to the end of the last block.
func (s *stream) finish() error {
	end := s.base + int64(len(s.buf))
	s.grow(len(s.buf) + int(align(end, blockSize)-end))
	s.flush()
	return s.err
}
