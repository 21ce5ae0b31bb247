package convert

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// partSize is the number of bytes of tar at which a part ends. It is fixed, so that the
// same layer gives the same blob everywhere.
const partSize = 32 << 20

// piece is something of the tar of the result: bytes of the spooled tar, a sparse file of
// it that is written as an ordinary one, or new bytes.
type piece struct {
	start, end int64
	sparse     bool
	bytes      []byte // not nil: new
}

// part are pieces that are compressed together.
type part []piece

// cut divides the tar of the result into parts, at boundaries of entries. The tail of a
// tar, its last zeros, has no part of its own.
func cut(pieces []piece) (parts []part) {
	var now part
	var size int64
	for _, p := range pieces {
		if size >= partSize {
			parts, now, size = append(parts, now), nil, 0
		}
		now = append(now, p)
		size += p.end - p.start + int64(len(p.bytes))
	}
	return append(parts, now)
}

// open returns a reader of the tar of a part. The caller closes it.
func (p part) open(tarFile *os.File) io.ReadCloser {
	var readers []io.Reader
	var open closers
	for i := 0; i < len(p); i++ {
		switch start, end := p[i].start, p[i].end; {
		case p[i].bytes != nil:
			readers = append(readers, bytes.NewReader(p[i].bytes))
		case p[i].sparse:
			r := expanded(io.NewSectionReader(tarFile, start, end-start))
			readers, open = append(readers, r), append(open, r)
		default:
			for i+1 < len(p) && p[i+1].bytes == nil && !p[i+1].sparse && p[i+1].start == end {
				i++
				end = p[i].end
			}
			readers = append(readers, io.NewSectionReader(tarFile, start, end-start))
		}
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(readers...), open}
}

type closers []io.Closer

func (c closers) Close() (err error) {
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}

// expanded returns the entry r, a sparse file, as an ordinary one. The caller closes it.
func expanded(r io.Reader) *io.PipeReader {
	out, in := io.Pipe()
	go func() { in.CloseWithError(expand(in, r)) }()
	return out
}

func expand(w io.Writer, r io.Reader) error {
	tr := tar.NewReader(r)
	h, err := tr.Next()
	if err != nil {
		return fmt.Errorf("sparse file: %w", err)
	}
	plain := *h
	plain.Typeflag, plain.Format, plain.PAXRecords = tar.TypeReg, tar.FormatUnknown, map[string]string{}
	for k, v := range h.PAXRecords {
		if len(k) > 7 && k[:7] == "SCHILY." {
			plain.PAXRecords[k] = v
		}
	}
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&plain); err != nil {
		return err
	}
	if _, err := io.Copy(tw, tr); err != nil {
		return err
	}
	return tw.Flush() // padding, and no end of the tar
}
