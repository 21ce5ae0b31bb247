package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Checksums find damage of a file by a disk or a crash. They are no protection against a
// process that can write to the store.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// blockSize is the unit in bytes in which data files and tree images have
// holes.
const blockSize = 4096

var zeroBlock [blockSize]byte

// sparseChecksum returns the checksum of f: of the numbers and bytes of its
// blocks that are not all zeros. It reads no hole, so it takes the time that
// the blocks on disk take, and does not depend on where the holes are.
func sparseChecksum(f *os.File) (uint32, error) {
	var sum uint32
	buf := make([]byte, 256*blockSize)
	for off := int64(0); ; {
		data, hole, err := nextData(f, off)
		if err != nil || data == hole {
			return sum, err
		}
		for off = data / blockSize * blockSize; off < hole; off += int64(len(buf)) {
			n, err := f.ReadAt(buf[:min(int64(len(buf)), roundUp(hole-off))], off)
			if err != nil && err != io.EOF {
				return 0, err
			}
			sum = addBlocks(sum, off, buf[:n])
		}
		off = roundUp(hole)
	}
}

func addBlocks(sum uint32, off int64, b []byte) uint32 {
	var number [8]byte
	for len(b) > 0 {
		block := b[:min(blockSize, len(b))]
		if !isZero(block) {
			binary.LittleEndian.PutUint64(number[:], uint64(off/blockSize))
			sum = crc32.Update(sum, castagnoli, number[:])
			sum = crc32.Update(sum, castagnoli, block)
		}
		b, off = b[len(block):], off+blockSize
	}
	return sum
}

// isZero reports whether block, of at most blockSize bytes, is all zeros.
func isZero(block []byte) bool { return bytes.Equal(block, zeroBlock[:len(block)]) }

func roundUp(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

// nextData returns where the first data at or behind off starts and ends.
// The two are equal if there is none.
func nextData(f *os.File, off int64) (data, hole int64, err error) {
	fd := int(f.Fd())
	data, err = unix.Seek(fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return off, off, nil
	}
	if err == nil {
		hole, err = unix.Seek(fd, data, unix.SEEK_HOLE)
	}
	return data, hole, os.NewSyscallError("lseek", err)
}
