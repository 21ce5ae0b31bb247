package disktest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/disktest"
)

// TestThin writes a file of which only the first half has space: a volume that
// says that it kept all of them is no thin volume but a broken disk.
func TestThin(t *testing.T) {
	thin := disktest.Tmpfs(t, 24<<20)
	dir := disktest.Thin(t, thin, 64<<20)
	f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := 64 * os.Getpagesize()
	if _, err := f.WriteAt(bytes.Repeat([]byte{1}, size/2), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	free := disktest.Exhaust(t, thin)
	defer free()
	// The blocks that this gives back are the first that the next write gets.
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{2}, size), 0); err != nil {
		t.Fatal(err)
	}
	if f.Sync() == nil {
		t.Error("the volume kept what it had no space for")
	}
}
