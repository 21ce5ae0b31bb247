package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/metastore"
)

// copyRoot copies the root of an endpoint that is open, as a process finds it
// that starts after the first was killed. change is made to the copy.
func copyRoot(t *testing.T, d *disk, s *Snapshotter, change func(root string)) *Snapshotter {
	t.Helper()
	root := filepath.Join(tempDir(t), "e", "ladle")
	if err := os.CopyFS(root, noLinks{os.DirFS(s.opts.Root)}); err != nil {
		t.Fatal(err)
	}
	change(root)
	return newEndpoint(t, d, func(o *Options) { o.Root, o.Name = root, "copy" })
}

// noLinks leaves out symbolic links, which CopyFS does not take if they are
// absolute, and files that are about to be renamed.
type noLinks struct{ fs.FS }

func (n noLinks) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(n.FS, name)
	var kept []fs.DirEntry
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 && !strings.HasSuffix(e.Name(), durable.Suffix) {
			kept = append(kept, e)
		}
	}
	return kept, err
}

// Nothing of what a call has returned is lost when the process is killed.
func TestMetadataOfAKilledProcess(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	want := map[string]string{}
	for i := range 30 {
		name := fmt.Sprint("s", i)
		commitFiles(t, s, name, "", map[string]string{name: name})
		want[name] = name
	}
	s2 := copyRoot(t, d, s, func(string) {})
	for name := range want {
		if _, err := s2.Stat(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

// After a reset of the machine the metadata is what it was when it was last
// saved, whatever is left of the file itself.
func TestMetadataAfterAReset(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"gone":  os.Remove,
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"torn": func(path string) error {
			b, err := os.ReadFile(path)
			for i := len(b) / 2; i < len(b); i++ {
				b[i] = 0
			}
			return errors.Join(err, os.WriteFile(path, b, 0o600))
		},
		"whole": func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			s := newEndpoint(t, d)
			commitFiles(t, s, "a", "", map[string]string{"a": "a"})
			commitFiles(t, s, "b", "a", map[string]string{"b": "b"})
			commitMerge(t, s, "merged", "", "a b")
			if err := s.meta.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			const id = "900"
			s2 := copyRoot(t, d, s, func(root string) {
				// What was done after the last save.
				err := errors.Join(damage(filepath.Join(root, metastore.DBFile)),
					os.WriteFile(filepath.Join(root, metastore.StateFile), []byte("another boot\n"), 0o600),
					os.MkdirAll(filepath.Join(root, "snapshots", id, "fs"), 0o755))
				if err != nil {
					t.Fatal(err)
				}
			})
			wantFiles(t, "merge", viewOf(t, s2, "merged"), map[string]string{"b": "b"})
			if _, err := os.Stat(s2.upper(numberOf(id))); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("directory of a lost snapshot: %v", err)
			}
			commitFiles(t, s2, "next", "b", map[string]string{"n": "n"})
			if next := idOfKey(t, s2, "next"); next <= numberOf(id) {
				t.Errorf("number %s is used after %s was", next, id)
			}
			if err := s2.Close(); err != nil {
				t.Fatal(err)
			}
			s3 := newEndpoint(t, d, func(o *Options) { o.Root, o.Name = s2.opts.Root, "copy" })
			if _, err := s3.Stat(t.Context(), "next"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A reset while the file is replaced by the saved one, or soon after any of the
// steps of opening, finds one or the other.
func TestMetadataOfASecondReset(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitFiles(t, s, "a", "", map[string]string{"a": "a"})
	if err := s.meta.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	reset := func(root string) {
		if err := os.WriteFile(filepath.Join(root, metastore.StateFile), []byte("another boot\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = copyRoot(t, d, s, reset)
	s = copyRoot(t, d, s, reset)
	commitFiles(t, s, "b", "a", map[string]string{"b": "b"})
	if err := s.meta.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = copyRoot(t, d, s, reset)
	for _, name := range []string{"a", "b"} {
		if _, err := s.Stat(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

// The directory of a removed snapshot is deleted only when it cannot be back.
func TestCleanupSavesFirst(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitFiles(t, s, "a", "", map[string]string{"a": "a"})
	if err := errors.Join(s.Remove(t.Context(), "a"), s.Cleanup(t.Context())); err != nil {
		t.Fatal(err)
	}
	s2 := copyRoot(t, d, s, func(root string) {
		if err := os.WriteFile(filepath.Join(root, metastore.StateFile), []byte("another boot\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := s2.Stat(t.Context(), "a"); !errdefs.IsNotFound(err) {
		t.Errorf("a removed snapshot is back: %v", err)
	}
}

// Metadata of before there were saved files is taken as it is, and so is that
// of a process that ended well.
func TestMetadataThatWasClosed(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitFiles(t, s, "a", "", map[string]string{"a": "a"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(s.opts.Root, metastore.StateFile)); err != nil || string(b) != metastore.Closed+"\n" {
		t.Errorf("%q, %v", b, err)
	}
	for _, without := range [][]string{{metastore.SavedFile}, {metastore.SavedFile, metastore.StateFile}} {
		for _, name := range without {
			if err := os.Remove(filepath.Join(s.opts.Root, name)); err != nil {
				t.Fatal(err)
			}
		}
		s = newEndpoint(t, d, func(o *Options) { o.Root = s.opts.Root })
		if _, err := s.Stat(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
