package index

import (
	"archive/tar"
	"errors"
	"io"
	"strings"
)

// sparseRecord begins the keys of PAX records of sparse files.
const sparseRecord = "GNU.sparse."

// isSparse reports whether the contents of a member may have holes that are not in the tar.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, sparseRecord) {
			return true
		}
	}
	return false
}

// fragments are where the bytes of a sparse file are in the tar. They are found out while
// archive/tar reads the file into a buffer: it reads each piece of data straight to its place in
// the buffer, and fills the holes between them with zeros.
type fragments struct {
	buf       []byte
	all       []fragment // in the order of the file, and of the tar
	elsewhere bool       // bytes were read to another place than buf
}

// fragment is bytes of a file that are one after the other in one stream of the blob.
type fragment struct {
	off, size int   // in the buffer
	tar       int64 // where they are in the tar
}

// add notes that p was read, which is at pos of the tar. begins says whether a stream begins with
// its first byte.
func (f *fragments) add(p []byte, pos int64, begins bool) {
	if len(p) == 0 {
		return
	}
	off := cap(f.buf) - cap(p)
	if off < 0 || off >= len(f.buf) || &f.buf[off] != &p[0] {
		f.elsewhere = true
		return
	}
	if n := len(f.all); n > 0 && !begins {
		last := &f.all[n-1]
		if last.off+last.size == off && last.tar+int64(last.size) == pos {
			last.size += len(p)
			return
		}
	}
	f.all = append(f.all, fragment{off, len(p), pos})
}

// errFragments is the error of a sparse file whose bytes cannot be found in the tar.
var errFragments = errors.New("sparse file whose data is at unknown places")

// sparseChunks reads size bytes of the contents of a sparse member, and makes chunks of what is
// no hole.
func (t *tarFile) sparseChunks(size int) (int, error) {
	start := t.in.pos
	f := &fragments{buf: t.out.room()[:size]}
	t.in.fragments = f
	_, err := io.ReadFull(t.reader, f.buf)
	t.in.fragments = nil
	if err != nil {
		return 0, unexpected(err)
	}
	if err := t.passed(int64(size), t.in.pos-start); err != nil {
		return 0, err
	}
	if f.elsewhere {
		return 0, errFragments
	}
	for _, one := range f.all {
		if err := t.addChunk(f.buf[one.off:][:one.size], t.out.offset()+int64(one.off), one.tar); err != nil {
			return 0, err
		}
	}
	return size, t.out.add(size)
}
