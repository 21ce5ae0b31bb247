package settle

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
)

// bed is snapshots in directories of their own, the Sharing of them, and its Worker, which
// is not started.
type bed struct {
	testing.TB
	dir string
	mu  struct {
		sync.Mutex
		all    []Snapshot
		pinned map[uint64]bool
	}
	// listing and listed are called by List, before and after it looks, with how many
	// times it was called since lists was 0.
	listing, listed func(times int)
	lists           int
	sharing         *Sharing
	w               *Worker
}

func newBed(t testing.TB) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "ladle-settle-") // /tmp may be a tmpfs
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	b := &bed{TB: t, dir: dir}
	b.mu.pinned = map[uint64]bool{}
	b.open(0)
	t.Cleanup(b.close)
	return b
}

// open opens the Sharing and the Worker, as a process does that starts.
func (b *bed) open(after time.Duration) {
	b.Helper()
	var err error
	b.sharing, err = Open(b.Context(), Options{Dir: filepath.Join(b.dir, "settle"), Snapshots: b, Name: "test", After: after, Link: true})
	must(b, err)
	b.w, err = b.sharing.OpenWorker()
	must(b, err)
}

func (b *bed) close() {
	b.Helper()
	must(b, b.w.Close())
	must(b, b.sharing.Close())
}

func (b *bed) reopen() {
	b.Helper()
	b.close()
	b.open(0)
}

// List implements Snapshots.
func (b *bed) List(context.Context) ([]Snapshot, error) {
	if b.lists++; b.listing != nil {
		b.listing(b.lists)
	}
	all := b.all()
	if b.listed != nil {
		b.listed(b.lists)
	}
	return all, nil
}

func (b *bed) all() []Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mu.all)
}

// Dir implements Snapshots.
func (b *bed) Dir(id uint64) string { return filepath.Join(b.dir, strconv.FormatUint(id, 10)) }

// Pinned implements Snapshots.
func (b *bed) Pinned(id uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.pinned[id]
}

// Sync implements Snapshots: what List returns is in memory.
func (b *bed) Sync(context.Context) error { return nil }

func (b *bed) pin(id uint64, pinned bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.pinned[id] = pinned
}

func (b *bed) add(s Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.all = append(b.mu.all, s)
}

// remove removes a snapshot, but for its directory.
func (b *bed) remove(id uint64) {
	b.mu.Lock()
	b.mu.all = slices.DeleteFunc(b.mu.all, func(s Snapshot) bool { return s.ID == id })
	b.mu.Unlock()
	b.sharing.End(id)
}

var longAgo = time.Unix(1_700_000_000, 123_456_789)

// commit makes a member with files over parent. Files of one name are equal.
func (b *bed) commit(id, parent uint64, files ...string) {
	b.Helper()
	for _, file := range files {
		path := filepath.Join(b.Dir(id), file)
		must(b, os.MkdirAll(filepath.Dir(path), 0o755))
		must(b, os.WriteFile(path, []byte("content of "+filepath.Base(file)), 0o644))
		must(b, os.Chtimes(path, longAgo, longAgo))
	}
	must(b, b.sharing.Make(func() (View, error) {
		b.add(Snapshot{ID: id, Parent: parent, Member: true, Dirs: []uint64{id}, Sources: hardlink.SourcesOf(id)})
		return View{ID: id, Dirs: []uint64{id}}, nil
	}))
	b.sharing.End(id)
}

// copy makes a member over parent, as a copy of all files of another one.
func (b *bed) copy(id, parent, from uint64) {
	b.Helper()
	unlock, err := b.sharing.LockNames(b.Context())
	must(b, err)
	defer unlock()
	copied, done, err := b.sharing.Link(Linking{From: hardlink.SourcesOf(from), Below: hardlink.SourcesOf(parent)})
	must(b, err)
	entries, err := os.ReadDir(b.Dir(from))
	must(b, err)
	must(b, os.Mkdir(b.Dir(id), 0o755))
	for _, e := range entries {
		must(b, os.Link(filepath.Join(b.Dir(from), e.Name()), filepath.Join(b.Dir(id), e.Name())))
	}
	done()
	must(b, b.sharing.Make(func() (View, error) {
		b.add(Snapshot{ID: id, Parent: parent, Member: true, Dirs: []uint64{id}, Sources: hardlink.SourcesOf(id)})
		return View{ID: id, Dirs: []uint64{id}, Copied: copied}, nil
	}))
	b.sharing.End(id)
}

// merge makes a snapshot that shows members, above parent, and removes it from what is
// shown at once.
func (b *bed) merge(id, parent uint64, members ...uint64) {
	b.Helper()
	must(b, b.sharing.Make(func() (View, error) {
		b.add(Snapshot{ID: id, Parent: parent, Dirs: members, Sources: hardlink.SourcesOf(members...)})
		return View{ID: id, Dirs: members, Merged: true}, nil
	}))
	b.sharing.End(id)
}

func (b *bed) pass() {
	b.Helper()
	_, err := b.w.Pass(b.Context())
	must(b, err)
}

func (b *bed) inode(id uint64, file string) uint64 {
	b.Helper()
	var st unix.Stat_t
	must(b, unix.Lstat(filepath.Join(b.Dir(id), file), &st))
	return st.Ino
}

// share reports whether a file is one inode in two snapshots.
func (b *bed) share(x, y uint64, file string) bool {
	b.Helper()
	return b.inode(x, file) == b.inode(y, file)
}

func (b *bed) arePartners(x, y uint64) bool {
	return b.sharing.MustBeApart(hardlink.SourcesOf(x), []hardlink.Sources{hardlink.SourcesOf(y)})[0]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
