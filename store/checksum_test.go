package store

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestSparseChecksum: the checksum depends on every byte and on no hole.
func TestSparseChecksum(t *testing.T) {
	const size = 3<<20 + 100
	sparse, full := scratch(t, size), scratch(t, size)
	if _, err := full.WriteAt(make([]byte, size), 0); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{10, 8000, 1<<20 - 1, 1 << 20, 2<<20 + 7777, size - 1} {
		before := sum(t, sparse)
		for _, f := range []*os.File{sparse, full} {
			if _, err := f.WriteAt([]byte{1}, off); err != nil {
				t.Fatal(err)
			}
		}
		if sum(t, sparse) == before {
			t.Errorf("a byte at %d makes no difference", off)
		}
		if sum(t, sparse) != sum(t, full) {
			t.Errorf("holes make a difference after a byte at %d", off)
		}
	}
}

func TestSparseChecksumSeesWhere(t *testing.T) {
	a, b := scratch(t, 1<<20), scratch(t, 1<<20)
	for f, off := range map[*os.File]int64{a: 0, b: 4096} {
		if _, err := f.WriteAt([]byte{1}, off); err != nil {
			t.Fatal(err)
		}
	}
	if sum(t, a) == sum(t, b) {
		t.Error("it makes no difference where a block is")
	}
}

func BenchmarkSparseChecksum(b *testing.B) {
	const used = 5 << 20 // of a tree image of 37,000 inodes
	f := scratch(b, 1<<30+used)
	p := make([]byte, used)
	rand.NewChaCha8([32]byte{}).Read(p)
	if _, err := f.WriteAt(p, 1<<30); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(used)
	for b.Loop() {
		sum(b, f)
	}
}

func scratch(t testing.TB, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

func sum(t testing.TB, f *os.File) uint32 {
	t.Helper()
	s, err := sparseChecksum(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
