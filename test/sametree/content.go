package sametree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Files of this many bytes and more have the digest of their blocks that are
// not all zeros instead of that of all their bytes, so that a sparse file of
// many gigabytes takes the time of a read.
const (
	large     = 1 << 30
	blockSize = 128 << 10
)

// content returns "sha256:" with the digest of a file's bytes, or "blocks:"
// with that of its blocks.
func (t *walk) content(path string, size int64) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return failure(err)
	}
	defer f.Close()
	// The next listing shall read, too, and not find what this one left.
	defer unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if size >= large {
		sum, err := blocks(f, size, t.buf)
		if err != nil {
			return failure(err)
		}
		return fmt.Sprintf("blocks:%x", sum)
	}
	hash := sha256.New()
	n, err := io.CopyBuffer(hash, onlyReader{f}, t.buf)
	if err != nil {
		return failure(err)
	}
	if n != size {
		return failure(fmt.Errorf("%d bytes, not %d", n, size))
	}
	return fmt.Sprintf("sha256:%x", hash.Sum(nil))
}

// onlyReader hides that a file can be copied otherwise than by io.CopyBuffer's buffer.
type onlyReader struct{ io.Reader }

// blocks hashes offset and bytes of every block that is not all zeros. buf has blockSize
// bytes.
func blocks(f *os.File, size int64, buf []byte) ([]byte, error) {
	hash := sha256.New()
	zeros := make([]byte, blockSize)
	for off := int64(0); off < size; off += blockSize {
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		if err != nil {
			return nil, err
		}
		off = data &^ (blockSize - 1)
		p := buf[:min(blockSize, size-off)]
		if _, err := f.ReadAt(p, off); err != nil {
			return nil, err
		}
		if bytes.Equal(p, zeros[:len(p)]) {
			continue
		}
		var at [8]byte
		binary.LittleEndian.PutUint64(at[:], uint64(off))
		hash.Write(at[:])
		hash.Write(p)
	}
	return hash.Sum(nil), nil
}
