package convert

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/stargz-snapshotter/estargz"
)

// entry is an entry of a tar: its bytes are those from start to end, headers and padding
// included.
type entry struct {
	name, link string // cleaned: see clean
	typ        byte
	start, end int64
	sparse     bool
}

// block is the unit of a tar, in bytes.
const block = 512

// clean returns the name of an entry relative to the root, without dots and slashes that
// mean nothing.
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// scan reads a tar to its end and returns its entries. It buffers nothing, so that offsets
// are those of package tar.
func scan(r io.Reader) ([]entry, error) {
	var all []entry
	in := &counter{r: r}
	tr := tar.NewReader(in)
	var start int64
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("tar: %w", err)
		}
		if err := check(h); err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, tr); err != nil {
			return nil, fmt.Errorf("tar: %q: %w", h.Name, err)
		}
		e := entry{name: clean(h.Name), typ: h.Typeflag, start: start, end: (in.n + block - 1) / block * block, sparse: isSparse(h)}
		if h.Typeflag == tar.TypeLink {
			e.link = clean(h.Linkname)
		}
		all = append(all, e)
		start = e.end
	}
	_, err := io.Copy(io.Discard, in)
	return all, err
}

// isSparse reports whether the bytes of a file are not those that follow its header.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for name := range h.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// maxSparse bounds the bytes of a sparse file, which is written with its zeros.
const maxSparse = 64 << 30

// check refuses entries of types that containerd does not extract either.
func check(h *tar.Header) error {
	if isSparse(h) && h.Size > maxSparse {
		return fmt.Errorf("tar: %q is a sparse file of %d bytes, of at most %d", h.Name, h.Size, int64(maxSparse))
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo,
		tar.TypeXGlobalHeader, tar.TypeGNUSparse:
		return nil
	}
	return fmt.Errorf("tar: %q has the unknown type %q", h.Name, h.Typeflag)
}

// dropped reports whether the entry is not in the result: it is of the format that the
// layer had, or one that no format can express.
func (e entry) dropped() bool {
	switch e.name {
	case estargz.TOCTarName, estargz.PrefetchLandmark, estargz.NoPrefetchLandmark:
		return true
	}
	return e.typ == tar.TypeXGlobalHeader
}

// counter counts the bytes that were read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
