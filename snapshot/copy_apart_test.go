package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/settle"
)

// A clean diff that shares no inode with what it was first shown with shares
// none with copies that are made of its files later, and are shown with it.
func TestCopiesOfWhatIsApart(t *testing.T) {
	for name, links := range map[string]bool{"a layer that is clean as it is": false, "a directory of links": true} {
		t.Run(name, func(t *testing.T) {
			s := newCopying(t)
			s.commit("base", "", "lib/one")
			s.change("stage", "base", func(dir string) {
				put(t, filepath.Join(dir, "out/file"), "content")
				if links {
					must(t, os.Link(filepath.Join(dir, "out/file"), filepath.Join(dir, "linked")))
					put(t, filepath.Join(dir, "out/other"), "other")
				}
			})
			s.copy("partner", "", "base", "/lib:/partner")
			mustMerge(t, s.Snapshotter, "first", "partner", "base stage")
			s.noNewLinks("first", "linked")
			s.copy("copied", "", "stage", "/out:/to")
			mustMerge(t, s.Snapshotter, "second", "copied", "base stage")
			s.noNewLinks("second", "linked")
			s.copy("again", "first", "copied", "/to:/again")
			s.noNewLinks("again", "linked")
		})
	}
}

// What runs above the source, or above an earlier copy, never sees the time of
// change of a file move: GNU tar calls that an error ("file changed as we read
// it").
func TestCopyBesideWhatRuns(t *testing.T) {
	s := newCopying(t)
	s.commit("image", "", "bin/sh")
	s.commit("builder", "image", "out/one", "more/two")
	s.copy("first", "image", "builder", "/out:/out")
	seen := func(name, path string) (st unix.Stat_t) {
		must(t, unix.Lstat(filepath.Join(s.upper(idOfKey(t, s.Snapshotter, name)), path), &st))
		return st
	}
	one, two := seen("builder", "out/one").Ctim, seen("builder", "more/two").Ctim
	mustPrepare(t, s.Snapshotter, "running", "builder")
	s.refused("image", "builder", "/out:/again")
	must(t, s.Remove(t.Context(), "running"))
	s.change("dirty", "image", func(dir string) {
		put(t, filepath.Join(dir, "more/two"), "content of two")
		must(t, os.Chmod(filepath.Join(dir, "bin/sh"), 0o644)) // copied up, and not changed
	})
	mustMerge(t, s.Snapshotter, "merged", "", " image,image dirty")
	mustPrepare(t, s.Snapshotter, "running", "merged")
	s.refused("image", "dirty", "/more:/again")
	must(t, s.Remove(t.Context(), "running"))
	mustPrepare(t, s.Snapshotter, "running", "first")
	s.copy("second", "image", "builder", "/out:/again")
	s.shared("builder", "out/one", "second", "again/one", false)
	if one != seen("builder", "out/one").Ctim || two != seen("builder", "more/two").Ctim {
		t.Error("the time of change of a file that may be read is another one")
	}
	s.copy("third", "image", "builder", "/more:/more")
	s.shared("builder", "more/two", "third", "more/two", true)
	must(t, s.Remove(t.Context(), "running"))
	s.copy("last", "image", "builder", "/out:/last")
	s.shared("builder", "out/one", "last", "last/one", true)
}

// What is to run above a source is not started while its files get names.
func TestPrepareWaitsForLinks(t *testing.T) {
	s := newCopying(t)
	s.commit("builder", "", "out/one")
	s.commit("other", "", "other")
	linking := settle.Linking{From: hardlink.SourcesOf(uint64(idOfKey(t, s.Snapshotter, "builder")))}
	_, done, err := s.sharing.Link(linking)
	must(t, err)
	mustPrepare(t, s.Snapshotter, "beside", "other")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Prepare(ctx, "above", "builder"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("prepared while files get names: %v", err)
	}
	if _, err := s.Stat(t.Context(), "above"); !errdefs.IsNotFound(err) {
		t.Errorf("what was not prepared is there: %v", err)
	}
	prepared := make(chan error, 1)
	go func() {
		_, err := s.Prepare(t.Context(), "above", "builder")
		prepared <- err
	}()
	done()
	must(t, <-prepared)
	if _, done, err := s.sharing.Link(linking); err == nil {
		done()
		t.Error("files get names while something may run where they are shown")
	}
}
