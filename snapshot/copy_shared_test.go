package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
)

// A view never shows two names of an inode that are no hard links: of two copies
// from one stage, of a copy of a copy, and of a merge of a copy with its source.
func TestCopiesShareWithNobodyTheyAreSeenWith(t *testing.T) {
	s := newCopying(t)
	s.commit("image", "", "bin/sh")
	s.change("builder", "image", func(dir string) {
		for _, name := range []string{"a/one", "a/two", "b/three", "b/four", "links/x"} {
			put(t, filepath.Join(dir, name), "content of "+name)
		}
		must(t, os.Link(filepath.Join(dir, "links/x"), filepath.Join(dir, "links/y")))
	})
	s.copy("first", "image", "builder", "/a:/a")
	s.copy("second", "first", "builder", "/b:/b")
	s.shared("builder", "b/three", "second", "b/three", true)
	s.copy("third", "second", "builder", "/a:/again")
	s.shared("builder", "a/one", "third", "again/one", false)
	s.noNewLinks("third")
	s.copy("links", "third", "builder", "/links:/links")
	s.shared("links", "links/x", "links", "links/y", true)
	s.shared("links", "links/x", "builder", "links/x", false)
	s.noNewLinks("links", "links/y")

	s.copy("other", "image", "builder", "/a:/a")
	s.shared("builder", "a/one", "other", "a/one", true)
	s.copy("all-links", "image", "builder", "/links:/l")
	s.shared("builder", "links/x", "all-links", "l/y", true)
	s.copy("copy-of-copy", "other", "first", "/a:/more")
	s.shared("copy-of-copy", "more/one", "first", "a/one", false)
	s.noNewLinks("copy-of-copy")
	s.copy("far-copy", "image", "first", "/a:/more")
	s.shared("far-copy", "more/one", "builder", "a/one", true)

	for _, pairs := range []string{"image builder", "image first", "image other,image builder", "image far-copy,image other"} {
		name := "merge of " + pairs
		mustMerge(t, s.Snapshotter, name, "first", pairs)
		s.noNewLinks(name, "links/y")
	}
}

// mustMerge makes a committed merge.
func mustMerge(t testing.TB, s *Snapshotter, name, parent, pairs string) {
	t.Helper()
	if _, err := s.Prepare(t.Context(), name+"-active", parent, asMerge(strings.Split(pairs, ",")...)); err != nil {
		t.Fatal(err)
	}
	must(t, s.Commit(t.Context(), name, name+"-active"))
}

// A copy and a third file that is equal settle, and a copy takes nothing from
// what came to share inodes by settling with what its parent shows.
func TestCopiesSettle(t *testing.T) {
	s := newCopying(t)
	s.commit("image", "", "bin/sh")
	s.commit("builder", "image", "out/one")
	s.copy("copied", "image", "builder", "/out:/to")
	s.commit("third", "image", "equal/one")
	for range 3 {
		s.pass()
	}
	s.shared("builder", "out/one", "copied", "to/one", true)
	s.shared("builder", "out/one", "third", "equal/one", true)
	if n := s.links("third", "equal/one"); n != 3 {
		t.Errorf("%d names, want 3", n)
	}
	s.copy("over-third", "third", "builder", "/out:/to")
	s.shared("builder", "out/one", "over-third", "to/one", false)
	s.noNewLinks("over-third")
	for range 3 {
		s.pass()
	}
	s.noNewLinks("over-third")
}

// What an interrupted process leaves of a copy shares no inode with anything
// that it can be seen with, and is deleted.
func TestCopyInterrupted(t *testing.T) {
	s := newCopying(t)
	s.commit("image", "", "bin/sh")
	s.commit("builder", "image", "out/one")
	builder := idOfKey(t, s.Snapshotter, "builder")
	before, err := os.ReadFile(partnersFile(s.Snapshotter))
	must(t, err)
	if _, err := s.tryCopy("made", "image", "builder", "/out:/out"); err != nil {
		t.Fatal(err)
	}
	made := idOfKey(t, s.Snapshotter, "made-active")
	// It ended after the transaction and before partners were on disk, and
	// while another copy was made.
	left := s.dirs.Diff("c7")
	must(t, os.CopyFS(left, os.DirFS(s.upper(made))))
	must(t, os.CopyFS(s.dirs.Diff("new-8"), os.DirFS(s.upper(made))))
	s.w.Close()
	must(t, s.Close())
	must(t, os.WriteFile(partnersFile(s.Snapshotter), before, 0o600))
	again, err := New(t.Context(), s.opts)
	must(t, err)
	t.Cleanup(func() {
		must(t, again.Cleanup(context.WithoutCancel(t.Context())))
		must(t, again.Close())
	})
	image := idOfKey(t, again, "image")
	if arePartners(again, image, builder) || arePartners(again, image, made) || !arePartners(again, builder, made) {
		t.Errorf("partners after a restart are not %s and %s, and no others", builder, made)
	}
	for _, dir := range []string{left, s.dirs.Diff("new-8")} {
		if _, err := os.Lstat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	if mounts, err := again.Mounts(t.Context(), "made-active"); err != nil || fmt.Sprint(mounts) == "" || strings.Contains(fmt.Sprint(mounts), "upperdir") {
		t.Errorf("mounts after a restart: %v, %v", mounts, err)
	}
}

// Copies are what they are while snapshots settle and merges and other copies
// are made.
func TestCopiesAtOnce(t *testing.T) {
	s := newSettling(t)
	s.commit("image", "", "bin/sh")
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("out/%d", i))
	}
	s.commit("builder", "image", names...)
	done := make(chan error, 8)
	for i := range cap(done) {
		go func() {
			r := merge.CopyRequest{From: "builder", Source: "/out", Target: fmt.Sprintf("/to-%d", i)}
			name := fmt.Sprint("copy-", i)
			_, err := s.Prepare(t.Context(), name+"-active", "image", snapshots.WithLabels(r.Labels()))
			if err == nil {
				err = s.Commit(t.Context(), name, name+"-active")
			}
			done <- err
		}()
	}
	for range cap(done) {
		must(t, <-done)
	}
	mustMerge(t, s.Snapshotter, "all", "copy-0", "image copy-1,image copy-2,image builder")
	s.noNewLinks("all")
}

// Who shares inodes is known for as long as directories are there, also if only
// merges have them any more.
func TestCopyAndSourceOnlyInMerges(t *testing.T) {
	s := newCopying(t)
	s.commit("builder", "", "out/one")
	s.copy("copied", "", "builder", "/out:/to")
	s.commit("base", "", "base")
	mustMerge(t, s.Snapshotter, "with builder", "base", " builder")
	mustMerge(t, s.Snapshotter, "with copy", "base", " copied")
	must(t, s.Remove(t.Context(), "builder"))
	must(t, s.Remove(t.Context(), "copied"))
	must(t, s.Cleanup(t.Context()))
	s.pass()
	mustMerge(t, s.Snapshotter, "both", "with builder", "base with copy")
	s.noNewLinks("both")
	for _, key := range []string{"both", "with builder", "with copy"} {
		must(t, s.Remove(t.Context(), key))
	}
	must(t, s.Cleanup(t.Context()))
	s.pass()
	if all := hardlink.SourcesOf(hardlink.Unknown); s.sharing.MustBeApart(all, []hardlink.Sources{all})[0] {
		t.Error("snapshots that are gone have partners")
	}
}
