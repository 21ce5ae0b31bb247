package index

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// A stretch is a range of a blob that is decompressed by itself: one or more whole members
// of gzip, or frames of zstd. It begins where a stream of chunks does, or has no chunks. The
// stretches of a blob, one after the other, decompress to the layer's tar. The rest of a
// stretch is its part of the tar without the bytes of its chunks: headers, padding, the TOC.

// Chunks returns the chunks of the stream that begins at off of the blob, [first, end).
func (t Table) Chunks(off int64) (first, end int) {
	first = t.searchBlob(off)
	for end = first; end < t.Len() && t.At(end).BlobOffset == off; end++ {
	}
	return first, end
}

// StreamAfter returns where the first stream behind off begins in the blob; -1 if there is
// none.
func (t Table) StreamAfter(off int64) int64 {
	n := t.searchBlob(off + 1)
	if n == t.Len() {
		return -1
	}
	return t.At(n).BlobOffset
}

// Rest decompresses the stretch of which r has exactly the bytes, and writes its rest to w.
// [first, end) are its chunks. The errors of r and w are returned as they are.
func (t Table) Rest(w io.Writer, r *bufio.Reader, first, end int) error {
	if _, err := r.Peek(1); errors.Is(err, io.EOF) {
		return nil // a stretch without bytes
	}
	plain, err := t.compression.NewStretch(r)
	if err != nil {
		return err
	}
	defer plain.Close()
	pos := int64(0)
	for n := first; n < end; n++ {
		c := t.At(n)
		if _, err := io.CopyN(w, plain, c.InnerOffset-pos); err != nil {
			return unexpected(err)
		}
		if _, err := io.CopyN(io.Discard, plain, c.Size); err != nil {
			return unexpected(err)
		}
		pos = c.InnerOffset + c.Size
	}
	_, err = io.Copy(w, plain)
	return err
}

// NewStretch is NewReader for a stretch of which r has exactly the bytes: the reader ends
// with an io.EOF at the end of r.
func (c Compression) NewStretch(r io.Reader) (io.ReadCloser, error) {
	switch c {
	case Gzip:
		return newGzipStream(r, true)
	case Zstd:
		return newZstdStream(r)
	}
	return nil, fmt.Errorf("stretch of compression %q: %w", c, errors.ErrUnsupported)
}
