package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/store"
)

// TestDropCache shows that the daemon's pages go, and only pages.
func TestDropCache(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	l := add(t, s, 1)
	defer closeLayer(t, l)
	for n := range sampleChunks {
		fill(t, l, 1, n)
	}
	f, err := os.Open(filepath.Join(root, "layers/1/data"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := resident(t, f); n == 0 {
		t.Error("nothing was cached after Fill")
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := l.DropCache(0, 0); err != nil {
		t.Fatal(err)
	}
	if n := resident(t, f); n != 0 {
		t.Errorf("%d pages are still cached", n)
	}
	for n := range sampleChunks {
		if err := verify(l, 1, n); err != nil {
			t.Error(err)
		}
	}
}

// TestSequentialReaderLeavesNoCache: its own page cache is above.
func TestSequentialReaderLeavesNoCache(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	const size, step = 16 << 20, 128 << 10
	l, err := s.Add(sampleID(1), store.Content{DataSize: size, NChunks: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLayer(t, l)
	want := randomBytes(1, 0, size)
	if err := l.Fill(0, 0, want); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(root, "layers/1/data"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, step)
	for off := int64(0); off < size; off += step {
		if _, err := l.ReadAt(p, off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, want[off:off+step]) {
			t.Fatalf("wrong bytes at %d", off)
		}
	}
	if n := resident(t, f) * os.Getpagesize(); n > size/4 {
		t.Errorf("%d bytes of %d are cached twice", n, size)
	}
}

// TestRandomReaderLeavesCache: what it reads, others may need, wherever it ends.
func TestRandomReaderLeavesCache(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{})
	const size, folio, step = 8 << 20, 2 << 20, 128 << 10
	l, err := s.Add(sampleID(1), store.Content{DataSize: size, NChunks: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer closeLayer(t, l)
	if err := l.Fill(0, 0, randomBytes(1, 0, size)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(root, "layers/1/data"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	before := resident(t, f)
	for _, off := range []int64{folio - step, 3*folio - step, 2*folio - step/2, size - step, folio - step} {
		if _, err := l.ReadAt(make([]byte, step), off); err != nil {
			t.Fatal(err)
		}
	}
	if n := resident(t, f); n < before {
		t.Errorf("%d pages of %d are left in the cache", n, before)
	}
}

// resident returns how many pages of f are in the page cache (mincore(2)).
func resident(t *testing.T, f *os.File) (pages int) {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	for _, in := range mincore(t, b) {
		pages += int(in & 1)
	}
	return pages
}
func mincore(t *testing.T, b []byte) []byte {
	t.Helper()
	in := make([]byte, (len(b)+os.Getpagesize()-1)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&in[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	return in
}
