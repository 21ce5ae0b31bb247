package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/settle"
	"github.com/ladle-dev/ladle/store"
)

// bed is snapshots in directories of their own, and a Planner for them. It implements
// settle.Snapshots, and Trees for an endpoint without trees.
type bed struct {
	testing.TB
	dirs    Dirs
	pins    *Pins
	sharing *settle.Sharing
	planner *Planner
	stacked []string // clean diffs
	gone    []uint64 // snapshots
}

func newBed(t testing.TB) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "ladle-stack-") // /tmp may be a tmpfs
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	b := &bed{TB: t, dirs: Dirs(dir)}
	b.open()
	t.Cleanup(func() { must(t, b.sharing.Close()) })
	return b
}

// open opens the Planner, as a process does that starts.
func (b *bed) open() {
	b.Helper()
	b.pins = NewPins(&claims{})
	var err error
	b.sharing, err = settle.Open(b.Context(), settle.Options{Dir: filepath.Join(string(b.dirs), "settle"), Snapshots: b})
	must(b, err)
	opts := Options{Dirs: b.dirs, Pins: b.pins, Trees: b, Sharing: b.sharing}
	b.planner, err = Open(b.Context(), opts, b.isStacked)
	must(b, err)
}

func (b *bed) isStacked(diff string) bool { return slices.Contains(b.stacked, diff) }

// strays returns the names of the directories that a sweep deletes.
func (b *bed) strays() (names []string) {
	b.Helper()
	dirs, err := b.planner.Strays(func(id uint64) bool { return !slices.Contains(b.gone, id) }, b.isStacked)
	must(b, err)
	for _, dir := range dirs {
		names = append(names, filepath.Base(dir))
	}
	return names
}

func (b *bed) List(context.Context) ([]settle.Snapshot, error) { return nil, nil }
func (b *bed) Dir(id uint64) string                            { return b.dirs.Upper(id) }
func (b *bed) Pinned(id uint64) bool                           { return b.pins.MayHave(id) }
func (b *bed) Sync(context.Context) error                      { return nil }
func (b *bed) Release(context.Context, string)                 {}

var errNoTree = errors.New("a tree is mounted")

func (b *bed) Mount(context.Context, string, store.Spec) (string, error) { return "", errNoTree }

// put makes files in the upper directory of a snapshot, each with its path as content.
func (b *bed) put(id uint64, paths ...string) {
	b.Helper()
	for _, path := range paths {
		path := filepath.Join(b.dirs.Upper(id), path)
		must(b, os.MkdirAll(filepath.Dir(path), 0o755))
		must(b, os.WriteFile(path, []byte(path), 0o644))
	}
}

// merge makes the stack of a merge. while is called before the call ends.
func (b *bed) merge(m Merge, while func(*Stack)) {
	b.Helper()
	call := b.begin(m)
	defer call.End(b.Context())
	s, err := call.Merge(b.Context(), m)
	must(b, err)
	while(s)
}

func (b *bed) begin(m Merge) *Call {
	b.Helper()
	call, err := b.planner.Begin(func(c *Call) error {
		c.Pin(m.Parent)
		for _, p := range m.Pairs {
			c.PinPair(p)
		}
		return nil
	})
	must(b, err)
	return call
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The clean diff of a pair is a layer as it is if that is clean. Else it is made, once, and
// is there for as long as its snapshots are, a call has pinned it, or a stack has it.
func TestDiffsOfLocalLayers(t *testing.T) {
	b := newBed(t)
	b.put(1, "one", "same")
	b.put(2, "two")
	must(t, os.Link(filepath.Join(b.dirs.Upper(1), "same"), filepath.Join(b.dirs.Upper(2), "same"))) // copied up, unchanged
	b.put(3, "three")
	m := Merge{Parent: chainOf(3), Pairs: []Pair{PairOf(chainOf(1), chainOf(1, 2)), PairOf(nil, chainOf(1))}}
	var made os.FileInfo
	for range 2 {
		b.merge(m, func(s *Stack) {
			if got := describe(s.Lowers); got != "d/1-2 1/fs" {
				t.Errorf("stack %s", got)
			}
			if of := fmt.Sprint(s.Lowers[0].Of.List()); of != "[2]" {
				t.Errorf("the diff has inodes of %s", of)
			}
			info, err := os.Stat(b.dirs.Diff("1-2"))
			must(t, err)
			if made != nil && !os.SameFile(info, made) {
				t.Error("the diff was made twice")
			}
			made = info
			b.gone = []uint64{1, 2}
			if got := b.strays(); len(got) > 0 {
				t.Errorf("a sweep beside the call deletes %v", got)
			}
			b.gone = nil
		})
	}
	if names := names(t, b.dirs.Diff("1-2")); !slices.Equal(names, []string{"two"}) {
		t.Errorf("the diff has %v", names)
	}
	for _, gone := range [][]uint64{nil, {1}, {2}} {
		b.gone = gone
		if got := b.strays(); len(got) != len(gone) {
			t.Errorf("without %v a sweep deletes %v", gone, got)
		}
	}
	b.stacked = []string{"1-2"}
	if got := b.strays(); len(got) > 0 {
		t.Errorf("a sweep deletes what is stacked: %v", got)
	}
}

func names(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What an earlier process has left is deleted, used, or no name of this one.
func TestOpen(t *testing.T) {
	b := newBed(t)
	b.put(1, "one", "same")
	b.put(2, "two")
	must(t, os.Link(filepath.Join(b.dirs.Upper(1), "same"), filepath.Join(b.dirs.Upper(2), "same")))
	m := Merge{Pairs: []Pair{PairOf(chainOf(1), chainOf(1, 2))}}
	b.merge(m, func(*Stack) {})
	for _, name := range []string{"new-1", "s7", "4-5", "6-7"} {
		must(t, os.Mkdir(b.dirs.Diff(name), 0o755))
	}
	b.stacked = []string{"6-7"}
	must(t, b.sharing.Close())
	b.open()
	if got := names(t, b.dirs.Diff("")); !slices.Equal(got, []string{"0", "1-2", "6-7", "s7"}) {
		t.Errorf("left are %v", got)
	}
	if got := b.strays(); !slices.Equal(got, []string{"s7"}) {
		t.Errorf("a sweep deletes %v", got)
	}
	if n := b.planner.diffs.next(); n != 8 {
		t.Errorf("number %d is given to a call", n)
	}
	b.merge(m, func(s *Stack) {
		// Over no parent, an empty directory is below: a view must not be a bind mount.
		if got := describe(s.Lowers); got != "d/0 d/1-2" || fmt.Sprint(s.Lowers[1].Of.List()) != "[2]" {
			t.Errorf("stack %s, %v", got, s.Lowers[1].Of)
		}
	})
	old := Merge{Parent: chainOf(1), Pairs: []Pair{PairOf(chainOf(6), chainOf(7))}}
	b.merge(old, func(s *Stack) {
		if got := describe(s.Lowers); got != "d/6-7" || s.Lowers[0].Of.Known() {
			t.Errorf("stack %s, %v", got, s.Lowers[0].Of)
		}
	})
}

// A stack that is too long becomes one directory of links, which moves into the directory
// of the merge.
func TestSquash(t *testing.T) {
	b := newBed(t)
	m := Merge{Parent: chainOf(1)}
	b.put(1, "file")
	for i := range MaxLowers + 1 {
		id := uint64(i + 2)
		b.put(id, fmt.Sprint("file", id))
		m.Pairs = append(m.Pairs, PairOf(nil, Chain{{ID: id}}))
	}
	b.merge(m, func(s *Stack) {
		if len(s.Lowers) != 1 || s.Lowers[0].Part == "" || len(s.Lowers[0].Of) != MaxLowers+1 {
			t.Fatalf("stack %+v", s.Lowers)
		}
		if got := names(t, b.dirs.Diff(s.Lowers[0].Part)); len(got) != MaxLowers+1 {
			t.Errorf("%d files", len(got))
		}
		if got := b.strays(); len(got) > 0 {
			t.Errorf("a sweep beside the call deletes %v", got)
		}
		must(t, os.Mkdir(b.dirs.Of(999), 0o755))
		must(t, b.dirs.Adopt(s, b.dirs.Of(999)))
		if _, err := os.Stat(b.dirs.Lower(s.LowersOf(999)[0])); err != nil {
			t.Error(err)
		}
	})
}

// The errors of merges and copies say what a client is to do.
func TestErrors(t *testing.T) {
	b := newBed(t)
	b.put(1, "dir/file")
	b.put(2, "file")
	must(t, unix.Lsetxattr(filepath.Join(b.dirs.Upper(1), "dir"), "trusted.overlay.redirect", []byte("/x"), 0))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx   context.Context
		chain Chain
		is    func(error) bool
	}{
		"redirected":     {t.Context(), chainOf(1), errdefs.IsNotImplemented},
		"without a tree": {t.Context(), chainOf("a", 2), errdefs.IsUnavailable},
		"cancelled":      {cancelled, chainOf(2), errdefs.IsCanceled},
	} {
		m := Merge{Pairs: []Pair{PairOf(nil, test.chain)}}
		call := b.begin(m)
		if _, err := call.Merge(test.ctx, m); err == nil || !test.is(err) {
			t.Errorf("merge %s: %v", name, err)
		}
		call.End(t.Context())
	}
	for source, is := range map[string]func(error) bool{"/none": errdefs.IsNotImplemented, "/file": func(err error) bool { return err == nil }} {
		call := b.begin(Merge{Parent: chainOf(2)})
		made, err := call.Copy(t.Context(), Copy{Source: chainOf(2), Request: merge.CopyRequest{Source: source, Target: "/to"}})
		if !is(err) {
			t.Errorf("copy of %s: %v", source, err)
		}
		if err == nil && (!slices.Equal(names(t, made.Dir), []string{"to"}) || fmt.Sprint(made.From) != fmt.Sprint(hardlink.SourcesOf(2))) {
			t.Errorf("copy of %s: %v, %v", source, names(t, made.Dir), made.From)
		}
		call.End(t.Context())
		if got := names(t, b.dirs.Diff("")); !slices.Equal(got, []string{"0"}) {
			t.Errorf("left of the copy of %s: %v", source, got)
		}
	}
}
