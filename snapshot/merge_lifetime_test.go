package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// What a merge stacks stays when its inputs are removed, and is deleted with
// the last merge that has it.
func TestMergeOutlivesItsInputs(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitFiles(t, s, "a", "", map[string]string{"a": "a", "stay": "s"})
	commitFiles(t, s, "b", "a", map[string]string{"b": "b"})
	makeUnclean(t, s, "b", "stay")
	commitFiles(t, s, "c", "", map[string]string{"c": "c"})
	want := map[string]string{"b": "b", "c": "c"}
	for _, name := range []string{"one", "two"} {
		commitMerge(t, s, name, "", "a b", " c")
	}
	first, second := viewOf(t, s, "one"), viewOf(t, s, "two")
	if a, b := viewLayers(t, first), viewLayers(t, second); !slices.Equal(a, b) {
		t.Errorf("the clean diff was made twice: %v, %v", a, b)
	}
	diff := s.dirs.Diff(fmt.Sprintf("%v-%v", idOfKey(t, s, "a"), idOfKey(t, s, "b")))
	cID := idOfKey(t, s, "c")
	remove := func(keys ...string) {
		t.Helper()
		for _, key := range keys {
			if err := s.Remove(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	there := func(when string, want bool) {
		t.Helper()
		for _, path := range []string{diff, s.upper(cID)} {
			if _, err := os.Stat(path); (err == nil) != want {
				t.Errorf("%s: %s: %v", when, path, err)
			}
		}
	}
	remove("b", "a", "c")
	there("inputs removed", true)
	wantFiles(t, "one", first, want)
	s = reopen(t, d, s)
	wantFiles(t, "one after a restart", first, want)
	wantFiles(t, "its child", mustPrepare(t, s, "container", "one"), want)
	remove("container", "view-one", "one")
	there("one of two merges removed", true)
	wantFiles(t, "two", second, want)
	remove("view-two", "two")
	there("all removed", false)
}

func mustPrepare(t *testing.T, s *Snapshotter, key, parent string, opts ...snapshots.Opt) []mount.Mount {
	t.Helper()
	mounts, err := s.Prepare(t.Context(), key, parent, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return mounts
}

// makeUnclean copies a file of its parent up into a committed snapshot.
func makeUnclean(t *testing.T, s *Snapshotter, name, file string) {
	t.Helper()
	info, err := s.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(s.upper(idOfKey(t, s, info.Parent)), file)
	if err := os.Link(from, filepath.Join(s.upper(idOfKey(t, s, name)), file)); err != nil {
		t.Fatal(err)
	}
}

func TestUsageOfMerges(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	big := strings.Repeat("x", 100_000)
	commitFiles(t, s, "a", "", map[string]string{"stay": "s"})
	commitFiles(t, s, "b", "a", map[string]string{"b": big})
	commitFiles(t, s, "c", "", map[string]string{"c": big})
	makeUnclean(t, s, "b", "stay")
	for _, name := range []string{"one", "two"} {
		commitMerge(t, s, name, "", "a b", " c")
	}
	usage := func(key string) snapshots.Usage {
		t.Helper()
		u, err := s.Usage(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	// Its upper directory and, of the first, the root of the clean diff.
	if one, two := usage("one"), usage("two"); one.Inodes != 2 || two.Inodes != 1 || one.Size > 10_000 {
		t.Errorf("usage %+v and %+v", one, two)
	}
	if err := s.Remove(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if one, two := usage("one"), usage("two"); one.Inodes != 4 || one.Size < 100_000 || two.Inodes != 1 {
		t.Errorf("after its input is gone: usage %+v and %+v", one, two)
	}
}

// Long stacks become short ones of links.
func TestMergeSquashes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
	d := newDisk(t)
	s := newEndpoint(t, d)
	prepareRemote(t, s, "base", "", d.addLayer(t, "base", map[string]string{"base": "b"}))
	const n = 600
	want := map[string]string{"base": "b"}
	var pairs []string
	for i := range n {
		name := fmt.Sprint("l", i)
		commitUpper(t, s, name, "")
		pairs, want[name] = append(pairs, " "+name), name
	}
	commitMerge(t, s, "long", "base", pairs...)
	view := viewOf(t, s, "long")
	if layers := viewLayers(t, view); len(layers) > 4 {
		t.Errorf("%d layers", len(layers))
	}
	wantFiles(t, "view", view, want)
	u, err := s.Usage(t.Context(), "long")
	if err != nil || u.Inodes > 3 {
		t.Errorf("usage %+v, %v", u, err)
	}
	commitFiles(t, s, "child", "long", map[string]string{"l7": ""})
	delete(want, "l7")
	wantFiles(t, "child", viewOf(t, s, "child"), want)
	s = reopen(t, d, s)
	wantFiles(t, "child after a restart", viewAs(t, s, "again", "child"), want)
}

// Long stacks of lazy layers become one tree.
func TestMergeJoinsLazyLayers(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitFiles(t, s, "base", "", map[string]string{"base": "b", "gone": "g"})
	const n = 600
	want := map[string]string{"base": "b", "gone": "g", "top": "t"}
	var pairs []string
	for i := range n {
		name := fmt.Sprint("l", i)
		prepareRemote(t, s, name, "", d.addLayer(t, name, map[string]string{name: name, "last": name}))
		pairs, want[name], want["last"] = append(pairs, " "+name), name, name
	}
	// One that deletes a file, and of its lower nothing else.
	prepareRemote(t, s, "with", "", d.addLayer(t, "with", map[string]string{"gone": "g"}))
	prepareRemote(t, s, "without", "with", d.addLayer(t, "without", map[string]string{"gone": ""}))
	commitFiles(t, s, "top", "", map[string]string{"top": "t"})
	delete(want, "gone")
	pairs = append(pairs, "with without", " top")
	commitMerge(t, s, "long", "base", pairs...)
	view := viewOf(t, s, "long")
	if layers := viewLayers(t, view); len(layers) > 4 {
		t.Errorf("%d layers", len(layers))
	}
	wantFiles(t, "view", view, want)
	// The diff of such a merge and another is made like any other.
	commitFiles(t, s, "run", "long", map[string]string{"run": "r"})
	commitMerge(t, s, "adjacent", "base", "long run")
	wantFiles(t, "adjacent", viewOf(t, s, "adjacent"), map[string]string{"base": "b", "gone": "g", "run": "r"})
	commitMerge(t, s, "all", "", "base run")
	delete(want, "base")
	want["run"] = "r"
	wantFiles(t, "all", viewOf(t, s, "all"), want)
	if id := idOf("l7"); !isClaimed(s, id) {
		t.Error("a layer of the merge is not claimed")
	}
	s = reopen(t, d, s)
	want["base"] = "b"
	wantFiles(t, "child after a restart", viewAs(t, s, "again", "run"), want)
}

// What cannot be joined is refused, so that the client copies it.
func TestMergeOfTooMany(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	var pairs []string
	for i := range 300 {
		lazy, local := fmt.Sprint("l", i), fmt.Sprint("c", i)
		prepareRemote(t, s, lazy, "", d.addLayer(t, lazy, map[string]string{lazy: lazy}))
		commitUpper(t, s, local, "")
		pairs = append(pairs, " "+lazy, " "+local)
	}
	_, err := s.Prepare(t.Context(), "long", "", asMerge(pairs...))
	if !errdefs.IsNotImplemented(err) {
		t.Errorf("%v", err)
	}
	if _, err := s.Stat(t.Context(), "long"); !errdefs.IsNotFound(err) {
		t.Errorf("a merge that was refused: %v", err)
	}
	if shown := files(t, mustPrepare(t, s, "fewer", "", asMerge(pairs[:360]...))); len(shown) != 360 {
		t.Errorf("%d files of 360", len(shown))
	}
}

// What a process left that was killed at any point is gone after the next start.
func TestMergeLeftovers(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	commitFiles(t, s, "a", "", map[string]string{"a": "a"})
	left := []string{s.dirs.Diff("new-123"), s.dirs.Diff("s1-0"), s.dirs.Diff("998-999"), filepath.Join(string(s.dirs), "new-5")}
	for _, dir := range left {
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s = reopen(t, d, s)
	for _, dir := range left {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	commitMerge(t, s, "merged", "", " a")
}

// Merges are made while their inputs are removed: each is whole or refused.
func TestMergeBesideRemoval(t *testing.T) {
	s := newEndpoint(t, newDisk(t))
	commitFiles(t, s, "base", "", map[string]string{"stay": "s"})
	for round := range 20 {
		name := fmt.Sprint("in", round)
		commitFiles(t, s, name, "base", map[string]string{name: name})
		makeUnclean(t, s, name, "stay")
		var wg sync.WaitGroup
		var prepared error
		merged := fmt.Sprint("merged", round)
		wg.Go(func() { _, prepared = s.Prepare(t.Context(), merged, "", asMerge("base "+name)) })
		wg.Go(func() {
			if err := errors.Join(s.Remove(t.Context(), name), s.Cleanup(t.Context())); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if errdefs.IsNotFound(prepared) {
			continue
		}
		if prepared != nil {
			t.Fatal(prepared)
		}
		mounts, err := s.Mounts(t.Context(), merged)
		if err != nil {
			t.Fatal(err)
		}
		wantFiles(t, merged, mounts, map[string]string{name: name})
	}
}

func BenchmarkMerge(b *testing.B) {
	s := newEndpoint(b, newDisk(b))
	commitFiles(b, s, "base", "", map[string]string{"f": "f"})
	many := map[string]string{}
	for i := range 2000 {
		many[fmt.Sprintf("d%d-f%d", i%20, i)] = "content"
	}
	commitFiles(b, s, "copy", "", many)
	commitFiles(b, s, "over", "base", many)
	i := 0
	for name, pair := range map[string]string{"from nothing": " copy", "over base": "base over", "unclean": "copy over"} {
		for _, known := range []bool{false, true} {
			b.Run(fmt.Sprint(name, ", known ", known), func(b *testing.B) {
				for b.Loop() {
					if !known {
						_, err := s.planner.Strays(func(uint64) bool { return false }, func(string) bool { return false })
						if err != nil {
							b.Fatal(err)
						}
						if err := os.RemoveAll(s.dirs.Diff(fmt.Sprintf("%v-%v", idOfKey(b, s, "copy"), idOfKey(b, s, "over")))); err != nil {
							b.Fatal(err)
						}
					}
					i++
					if _, err := s.Prepare(b.Context(), fmt.Sprint("m", i), "base", asMerge(pair)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
