package store_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/store"
)

// TestFull follows a layer from its first chunk to its last and back.
func TestFull(t *testing.T) {
	root := t.TempDir()
	s := open(t, root, store.Options{BootID: "one"})
	l := add(t, s, 1)
	for n := range sampleChunks {
		if l.Full() {
			t.Fatalf("full with %d of %d chunks", n, sampleChunks)
		}
		fill(t, l, 1, n)
		fill(t, l, 1, n)
	}
	if !l.Full() {
		t.Error("not full with all chunks")
	}
	for _, s := range []store.State{store.Absent, store.Absent, store.Doubtful} {
		if err := l.Mark(0, s); err != nil {
			t.Fatal(err)
		}
		if l.Full() {
			t.Errorf("full with a chunk that is %v", s)
		}
	}
	fill(t, l, 1, 0)
	if !l.Full() {
		t.Error("not full again")
	}
	closeLayer(t, l)
	closeStore(t, s)

	s = open(t, root, store.Options{BootID: "one"})
	l = layer(t, s, 1)
	if !l.Full() {
		t.Error("not full when opened again")
	}
	closeLayer(t, l)
	closeStore(t, s)

	s = open(t, root, store.Options{BootID: "two"})
	l = layer(t, s, 1)
	if l.Full() {
		t.Error("full after a reset")
	}
	closeLayer(t, l)
	closeStore(t, s)
}

// TestUsage: what all layers and tree images take is what the store takes, and it
// is not counted for each who asks.
func TestUsage(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	if n := s.Bytes(); n != 0 {
		t.Errorf("a store without layers has %d bytes", n)
	}
	closeStore(t, s)

	root := t.TempDir()
	s = open(t, root, store.Options{})
	l := add(t, s, 1)
	fill(t, l, 1, 0)
	closeLayer(t, l)
	closeLayer(t, add(t, s, 2))
	addTree(t, s, over(sampleID(1), sampleID(2)))
	var want int64
	for _, dir := range []string{"layers", "trees"} {
		want += onDisk(t, filepath.Join(root, dir))
	}
	for _, dir := range []string{"layers", "trees"} { // these alone are not counted
		want -= blocksOf(t, filepath.Join(root, dir))
	}
	if got := s.Bytes(); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	bytes, inodes, err := s.Usage(sampleID(1))
	if err != nil || bytes != onDisk(t, filepath.Join(root, "layers/1")) || inodes != 6 {
		t.Errorf("%d bytes, %d inodes, %v", bytes, inodes, err)
	}
	closeLayer(t, add(t, s, 3))
	if got := s.Bytes(); got != want {
		t.Errorf("counted again: %d", got)
	}
	if _, _, err := s.Usage(sampleID(4)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	closeStore(t, s)
}

// onDisk returns the bytes that a directory takes with all that is in it.
func onDisk(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		bytes += blocksOf(t, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func blocksOf(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}
