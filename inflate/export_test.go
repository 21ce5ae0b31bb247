package inflate

import "io"

// NewRaw returns a Reader of one deflate stream without header and trailer.
func NewRaw(r io.Reader) *Reader {
	z := NewReader(r)
	z.state = raw
	return z
}
