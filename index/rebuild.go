package index

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// Stretch is a stretch of a blob whose chunks are in the data file.
type Stretch struct {
	First, End int       // its chunks
	Rest       io.Reader // its rest, to the end
}

// rebuilt is the tar of a layer, made of its data file and the rests of its stretches.
type rebuilt struct {
	table Table
	data  io.ReaderAt
	next  func() (Stretch, error)
	sum   hash.Hash

	cur    Stretch // its First is the next chunk
	pos    int64   // bytes of cur that were read
	tar    int64   // bytes of the tar that were read
	open   bool    // cur is a stretch
	passed         // since it was set to its zero value
	placed []int64 // where chunks are in the tar, in bytes; -1: not read yet
}

// passed says of bytes of a tar where they came from.
type passed struct {
	inChunks int64 // bytes that are in chunks
	loose    bool  // a byte is neither in a chunk nor zero
}

func newRebuilt(t Table, data io.ReaderAt, next func() (Stretch, error)) *rebuilt {
	r := &rebuilt{table: t, data: data, next: next, sum: sha256.New(), placed: make([]int64, t.Len())}
	for i := range r.placed {
		r.placed[i] = -1
	}
	return r
}

// Read implements io.Reader.
func (r *rebuilt) Read(p []byte) (int, error) {
	for {
		if !r.open {
			var err error
			if r.cur, err = r.next(); err != nil {
				return 0, err
			}
			r.open, r.pos = true, 0
		}
		n, err := r.read(p)
		r.sum.Write(p[:n])
		r.pos += int64(n)
		r.tar += int64(n)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// read reads bytes of the current stretch, from one chunk or between two.
func (r *rebuilt) read(p []byte) (int, error) {
	if r.cur.First == r.cur.End {
		n, err := r.rest(p)
		if errors.Is(err, io.EOF) {
			r.open, err = false, nil
		}
		return n, err
	}
	c := r.table.At(r.cur.First)
	if gap := c.InnerOffset - r.pos; gap > 0 {
		n, err := r.rest(p[:min(int64(len(p)), gap)])
		if n > 0 {
			err = nil
		}
		return n, unexpected(err)
	}
	at := r.pos - c.InnerOffset
	if at == 0 {
		r.placed[r.cur.First] = r.tar
	}
	n := int(min(int64(len(p)), c.Size-at))
	if got, err := r.data.ReadAt(p[:n], c.DataOffset+at); got < n {
		return 0, fmt.Errorf("data file: %w", err)
	}
	r.inChunks += int64(n)
	if at+int64(n) == c.Size {
		r.cur.First++
	}
	return n, nil
}

func (r *rebuilt) rest(p []byte) (int, error) {
	n, err := r.cur.Rest.Read(p)
	r.loose = r.loose || !isZero(p[:n])
	return n, err
}

// diffID returns the digest of all that was read.
func (r *rebuilt) diffID() digest.Digest { return digest.NewDigest(digest.SHA256, r.sum) }
