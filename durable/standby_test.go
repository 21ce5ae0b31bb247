package durable_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/internal/disktest"
)

// A file with a standby is replaced as often as wanted on a disk without free
// blocks, by what is not larger than what was set aside.
func TestStandbyOnAFullDisk(t *testing.T) {
	const size = 300_000
	for _, kind := range disktest.Kinds {
		t.Run(kind, func(t *testing.T) {
			dir := disktest.New(t, kind, 16<<20)
			path := filepath.Join(dir, "file")
			if err := errors.Join(durable.Rewrite(path, make([]byte, size)), durable.SetAside(path, size)); err != nil {
				t.Fatal(err)
			}
			free := disktest.Exhaust(t, dir)
			for i := range 6 {
				want := bytes.Repeat([]byte{byte('A' + i)}, size-i*1000)
				if err := durable.Rewrite(path, want); err != nil {
					t.Fatalf("write %d: %v", i, err)
				}
				unix.Sync()
				if content(t, path) != string(want) {
					t.Errorf("write %d: wrong content", i)
				}
			}
			free()
		})
	}
}

// Without a standby, and no space for one, a file keeps its content.
func TestNoStandby(t *testing.T) {
	dir := disktest.New(t, "ext4", 16<<20)
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	free := disktest.Exhaust(t, dir)
	if err := durable.Rewrite(path, make([]byte, 8192)); !durable.NoSpace(err) {
		t.Errorf("error %v", err)
	}
	if got := content(t, path); got != "old" {
		t.Errorf("it has %q", got)
	}
	free()
	if err := durable.Rewrite(path, []byte("new")); err != nil || content(t, path) != "new" {
		t.Errorf("%v, and it has %q", err, content(t, path))
	}
}
