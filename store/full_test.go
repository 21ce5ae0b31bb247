package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/disktest"
	"github.com/ladle-dev/ladle/store"
)

// TestFullDisk fills real filesystems.
func TestFullDisk(t *testing.T) {
	for name, make := range map[string]func(t *testing.T) string{
		"ext4":  func(t *testing.T) string { return disktest.New(t, "ext4", 16<<20) },
		"xfs":   func(t *testing.T) string { return disktest.New(t, "xfs", 300<<20) },
		"tmpfs": func(t *testing.T) string { return disktest.Tmpfs(t, 2<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := make(t)
			root := filepath.Join(dir, "store")
			s := open(t, root, store.Options{})
			l := add(t, s, 1)
			free := disktest.ExhaustBut(t, dir, 96<<10)
			filled := fillUntilFull(t, l)

			// Adding must fail whole.
			if _, err := s.Add(sampleID(2), sampleContent(2)); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("Add on a full disk: %v", err)
			}
			if _, err := s.AddTree(t.Context(), over(sampleID(1)), 1000, writeImage); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("AddTree on a full disk: %v", err)
			}
			if left, _ := os.ReadDir(filepath.Join(root, "tmp")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			closeLayer(t, l)

			// What is there stays, and the rest can come later.
			l = layer(t, s, 1)
			for n := range filled {
				wantState(t, l, n, store.Present)
			}
			for n := filled; n < sampleChunks; n++ {
				wantState(t, l, n, store.Absent)
			}
			free()
			for n := range sampleChunks {
				if n >= filled {
					fill(t, l, 1, n)
				}
				if err := verify(l, 1, n); err != nil {
					t.Error(err)
				}
			}
			closeLayer(t, add(t, s, 2))
			closeLayer(t, l)
			closeStore(t, s)
		})
	}
}

// fillUntilFull returns how many chunks of l there was space for.
func fillUntilFull(t *testing.T, l *store.Layer) (filled int) {
	t.Helper()
	for n := range sampleChunks {
		err := l.Fill(n, sampleOffset(n), sampleBytes(1, n))
		if errors.Is(err, unix.ENOSPC) {
			wantState(t, l, n, store.Absent)
			if n == 0 {
				t.Fatal("full at once")
			}
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the disk did not get full")
	return 0
}

// TestLostWrites fills a data file on a disk that takes the bytes into the page
// cache and then cannot keep them, as a thin volume that runs out of space:
// what is lost must never be read as zeros.
func TestLostWrites(t *testing.T) {
	thin := disktest.Tmpfs(t, 24<<20)
	dir := disktest.Thin(t, thin, 64<<20)
	s := open(t, filepath.Join(dir, "store"), store.Options{})
	l := add(t, s, 1)
	fill(t, l, 1, 0)
	unix.Sync()
	free := disktest.ExhaustBut(t, thin, 4096)
	for n := 1; n < sampleChunks; n++ {
		fill(t, l, 1, n)
	}
	wantState(t, l, 1, store.Present)
	f, err := os.Open(filepath.Join(dir, "store/layers/1/data"))
	if err != nil {
		t.Fatal(err)
	}
	err = f.Sync()
	f.Close()
	if err == nil {
		t.Fatal("the disk kept what it had no space for")
	}
	if err := verify(l, 1, 1); !errors.Is(err, store.ErrLost) {
		t.Errorf("first read after the loss: %v", err)
	}
	for n := range sampleChunks {
		wantState(t, l, n, store.Absent)
	}
	if err := l.Mark(1, store.Present); err != nil {
		t.Error(err)
	}
	wantState(t, l, 1, store.Absent)
	free()
	fill(t, l, 1, 0)
	if err := verify(l, 1, 0); err != nil {
		t.Error(err)
	}
	closeLayer(t, l)
	s.Close() // its own writes may be lost
}
