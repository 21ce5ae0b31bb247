package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"

	"github.com/ladle-dev/ladle/tree"
)

// File returns the regular file at path, or nil if the layer's tree has none there. path has a
// slash before it. Links in the path are not followed.
func (l *Layer) File(path string) (*tree.Inode, error) {
	root, err := l.Tree()
	if err != nil {
		return nil, err
	}
	file := lookup(root, strings.TrimPrefix(path, "/"))
	if file == nil || !file.IsRegular() {
		return nil, nil
	}
	return file, nil
}

// Matches reports whether the first file.Size bytes of r are the content of file, a regular
// file of the layer's tree. It compares the digests of chunks, reads nothing of the layer and
// fetches nothing. known is false if a chunk is not of this file alone.
func (l *Layer) Matches(ctx context.Context, file *tree.Inode, r io.ReaderAt) (same, known bool, err error) {
	begin, end := file.Data.Offset, file.Data.Offset+file.Size
	at := begin
	for n := l.table.Search(begin); n < l.table.Len() && file.Size > 0; n++ {
		c := l.table.At(n)
		if c.DataOffset >= end {
			break
		}
		if c.DataOffset < begin || c.DataOffset+c.Size > end {
			return false, false, nil
		}
		if ctx.Err() != nil {
			return false, false, context.Cause(ctx)
		}
		if zero, err := onlyZeros(io.NewSectionReader(r, at-begin, c.DataOffset-at)); err != nil || !zero {
			return false, true, err
		}
		sum := sha256.New()
		if _, err := io.CopyN(sum, io.NewSectionReader(r, c.DataOffset-begin, c.Size), c.Size); err != nil {
			return false, true, ignoreEnd(err)
		}
		if !bytes.Equal(sum.Sum(nil), c.Digest[:]) {
			return false, true, nil
		}
		at = c.DataOffset + c.Size
	}
	zero, err := onlyZeros(io.NewSectionReader(r, at-begin, end-at))
	return zero, true, err
}

// ignoreEnd returns nil if err says that a reader has less than was to be read.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// onlyZeros reports whether all bytes of r are zero, and there is none less than its size.
func onlyZeros(r *io.SectionReader) (bool, error) {
	var p [32 << 10]byte
	for left := r.Size(); left > 0; {
		n, err := r.Read(p[:min(left, int64(len(p)))])
		if left -= int64(n); !isZero(p[:n]) {
			return false, nil
		}
		if err != nil && left > 0 {
			return false, ignoreEnd(err)
		}
	}
	return true, nil
}
