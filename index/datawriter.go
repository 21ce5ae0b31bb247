package index

import (
	"bytes"
	"io"

	"github.com/ladle-dev/ladle/tree"
)

// importChunk is the size in bytes of the largest chunk that an import makes. A chunk is
// verified as a whole at its first read after a reset of the machine.
const importChunk = 1 << 20

// dataWriter writes a data file from its start to its end, in large writes.
//
// INVARIANT: when a chunk begins, buf has room for all of it.
type dataWriter struct {
	w    io.WriterAt
	buf  []byte
	n    int   // bytes of buf that are not written yet
	base int64 // where buf begins in the data file
}

func newDataWriter(w io.WriterAt) *dataWriter {
	return &dataWriter{w: w, buf: make([]byte, 2*importChunk)}
}

// offset returns where the next byte will be in the data file.
func (d *dataWriter) offset() int64 { return d.base + int64(d.n) }

// room returns the bytes of the buffer that follow, for a chunk to be read into.
func (d *dataWriter) room() []byte { return d.buf[d.n:] }

// add adds the first n bytes of room to the file.
func (d *dataWriter) add(n int) error {
	d.n += n
	if len(d.buf)-d.n >= importChunk {
		return nil
	}
	return d.flush()
}

// align adds zeros up to the next block.
func (d *dataWriter) align() error {
	n := int(align(d.offset()) - d.offset())
	if n > len(d.room()) {
		if err := d.flush(); err != nil {
			return err
		}
	}
	clear(d.room()[:n])
	return d.add(n)
}

func (d *dataWriter) flush() error {
	if d.n == 0 {
		return nil
	}
	n, err := d.w.WriteAt(d.buf[:d.n], d.base)
	d.base += int64(n)
	d.n = 0
	return err
}

var zeroBlock [tree.BlockSize]byte

// isZero reports whether all bytes of p are zero.
func isZero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), len(zeroBlock))
		if !bytes.Equal(p[:n], zeroBlock[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}
