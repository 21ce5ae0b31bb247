package treetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/ladle-dev/ladle/tree"
)

// Pattern is an endless data file whose bytes are a function of the pattern's
// value and their offset. Any block of it is unlike any other. It never fails.
type Pattern uint64

// ReadAt fills p.
func (s Pattern) ReadAt(p []byte, off int64) (int, error) {
	var word [8]byte
	for n := 0; n < len(p); {
		at := off + int64(n)
		binary.LittleEndian.PutUint64(word[:], mix(uint64(s)<<32^uint64(at/8)))
		n += copy(p[n:], word[at%8:])
	}
	return len(p), nil
}

// mix is the output function of SplitMix64 (Steele, Lea and Flood,
// "Fast splittable pseudorandom number generators", 2014).
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// DataSize returns the size in bytes of the data file of layer that the tree
// below root needs.
func DataSize(root *tree.Inode, layer int) int64 {
	var size int64
	_ = tree.Walk(root, func(_ string, inode *tree.Inode) error {
		if inode.IsRegular() && inode.Size > 0 && inode.Data.Layer == layer {
			size = max(size, align(inode.Data.Offset+inode.Size))
		}
		return nil
	})
	return size
}

// WriteData writes to w the data file of the tree that FromDir made of dir.
func WriteData(w io.WriterAt, dir string, root *tree.Inode) error {
	done := map[*tree.Inode]bool{}
	return tree.Walk(root, func(path string, inode *tree.Inode) error {
		if !inode.IsRegular() || inode.Size == 0 || done[inode] {
			return nil
		}
		done[inode] = true
		f, err := os.Open(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		defer f.Close()
		n, err := io.Copy(io.NewOffsetWriter(w, inode.Data.Offset), f)
		if err == nil && n != inode.Size {
			err = fmt.Errorf("%q has %d bytes, want %d", path, n, inode.Size)
		}
		return err
	})
}

// CompareData reads every regular file of the tree below root from dir, where
// the tree is mounted or was put, and compares it with what data, the layers'
// data files, say. It returns the first inequality as an error.
func CompareData(dir string, root *tree.Inode, data ...io.ReaderAt) error {
	done := map[*tree.Inode]bool{}
	return tree.Walk(root, func(path string, inode *tree.Inode) error {
		if !inode.IsRegular() || inode.Size == 0 || done[inode] {
			return nil
		}
		done[inode] = true
		want := io.NewSectionReader(data[inode.Data.Layer], inode.Data.Offset, inode.Size)
		if err := compareFile(filepath.Join(dir, path), want); err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		return nil
	})
}

func compareFile(path string, want io.Reader) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	got, expected := make([]byte, 256<<10), make([]byte, 256<<10)
	for at := int64(0); ; {
		n, errWant := io.ReadFull(want, expected)
		m, errGot := io.ReadFull(f, got)
		if errGot != nil && errGot != io.EOF && errGot != io.ErrUnexpectedEOF {
			return errGot
		}
		if n != m || !bytes.Equal(got[:m], expected[:n]) {
			return fmt.Errorf("unequal in the %d bytes from %d", n, at)
		}
		if errWant != nil {
			return nil
		}
		at += int64(n)
	}
}

// align rounds n up to a multiple of tree.BlockSize.
func align(n int64) int64 { return (n + tree.BlockSize - 1) &^ (tree.BlockSize - 1) }

func sum(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }
