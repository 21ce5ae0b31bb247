package fs

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/store"
)

// TestReleaseAgain: a tree that could not be unmounted still has its owner, and can be
// released again.
func TestReleaseAgain(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		id := l.small(t, 1)[0]
		path := l.mount("o", id)
		// The kernel does not find the tree any more.
		away := l.treesDir() + "-away"
		if err := errors.Join(os.Rename(l.treesDir(), away), os.WriteFile(l.treesDir(), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		err := l.Release(t.Context(), "o")
		if !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("release of what cannot be unmounted: %v", err)
		}
		if err := errors.Join(os.Remove(l.treesDir()), os.Rename(away, l.treesDir())); err != nil {
			t.Fatal(err)
		}
		if !l.isMounted(path) {
			t.Fatal("it was unmounted")
		}
		l.release("o")
		if l.isMounted(path) {
			t.Error("still mounted after the second release")
		}
		waittest.For(t, "layer closed", func() bool { return l.book(id).open.Load() == 0 })
	})
}

// TestReleaseOfNoPatience: a release that does not wait for its turn leaves the owner
// its tree.
func TestReleaseOfNoPatience(t *testing.T) {
	l := newLab(t, "erofs")
	id := l.small(t, 1)[0]
	path := l.mount("o", id)
	m, err := l.enter(key{tree: over(id).Key()})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.turn.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Release(hurried, "o"); !errors.Is(err, context.Canceled) {
		t.Errorf("release: %v", err)
	}
	m.turn.Release(1)
	l.leave(m)
	l.release("o")
	if l.isMounted(path) {
		t.Error("still mounted")
	}
}

// afterClose is Images that find out whether they are used when nothing may use them.
type afterClose struct {
	closed atomic.Bool
	t      *testing.T
}

func (a *afterClose) used() error {
	if a.closed.Load() {
		a.t.Error("work after Close")
	}
	return store.ErrNotFound
}

func (a *afterClose) Layer(store.ID) (*store.Layer, error) { return nil, a.used() }
func (a *afterClose) layer(store.ID) (Layer, error)        { return nil, a.used() }
func (a *afterClose) Tree(context.Context, store.Spec) (store.TreeImage, error) {
	return store.TreeImage{}, a.used()
}

func (a *afterClose) AddTree(context.Context, store.Spec, uint64, func(*os.File, store.TreeImage) error) (store.TreeImage, error) {
	return store.TreeImage{}, a.used()
}

// TestWarmBesideClose: what Warm began has ended when Close returns, however close
// they were.
func TestWarmBesideClose(t *testing.T) {
	root := testDir(t)
	for range 300 {
		images := &afterClose{t: t}
		f, err := prepare(t.Context(), Options{Root: root, Images: images, Layers: images.layer})
		if err != nil {
			t.Fatal(err)
		}
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() { f.Warm(over(store.ID{Blob: "sha256:a"}, store.ID{Blob: "sha256:b"})) })
		}
		if err := f.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		images.closed.Store(true)
		callers.Wait()
	}
}
