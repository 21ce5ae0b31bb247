package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/store"
)

func readableBy(t *testing.T, path string, uid int) bool {
	t.Helper()
	cmd := exec.Command("cat", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err == nil
}

// small puts n small layers on the shelf.
func (l *lab) small(t testing.TB, n int) []store.ID {
	t.Helper()
	ids := make([]store.ID, n)
	for i := range ids {
		root, data := random(uint64(i), treetest.Shape{Inodes: 20})
		ids[i] = l.add(t, fmt.Sprint("small ", i), root, data)
	}
	return ids
}

// isMounted reports whether a tree is mounted at path.
func (l *lab) isMounted(path string) bool {
	l.t.Helper()
	for _, p := range l.mounts() {
		if p == path {
			return true
		}
	}
	return false
}

func TestOwners(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		ids := l.small(t, 3)
		a := l.mount("anna", ids[0])
		if again := l.mount("anna", ids[0]); again != a {
			t.Errorf("mounted twice: %s, %s", a, again)
		}
		if shared := l.mount("bert", ids[0]); shared != a {
			t.Errorf("not shared: %s, %s", a, shared)
		}
		b := l.mount("anna", ids[1], ids[2])
		c := l.mount("anna", ids[2], ids[1])
		if a == b || b == c {
			t.Errorf("different trees at one path: %s %s %s", a, b, c)
		}
		l.release("nobody")
		l.release("anna")
		if !l.isMounted(a) || l.isMounted(b) || l.isMounted(c) {
			t.Errorf("mounted after the first release: %v", l.mounts())
		}
		l.release("bert")
		l.release("bert")
		if l.isMounted(a) {
			t.Error("mounted without an owner")
		}
		for i, id := range ids {
			waittest.For(t, "layer closed", func() bool { return l.book(id).open.Load() == 0 })
			if again := l.mount("anna", id); i == 0 && again != a {
				t.Errorf("the path of a tree changed from %s to %s", a, again)
			}
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		ids := l.small(t, 6)
		var g errgroup.Group
		for i := range 24 {
			g.Go(func() error {
				for j := range 8 {
					owner := fmt.Sprint("owner ", i)
					layers := ids[(i+j)%4 : (i+j)%4+1+j%3]
					l.Warm(over(layers...))
					path, err := l.Mount(t.Context(), owner, over(layers...))
					if err != nil {
						return err
					}
					// Mine is there, whatever others release.
					if _, err := treetest.FromDir(path); err != nil {
						return fmt.Errorf("%s: %w", path, err)
					}
					if err := l.Release(t.Context(), owner); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if points := l.mounts(); len(points) != 1 {
			t.Errorf("mounted without an owner: %v", points)
		}
		l.FileSystem.mu.Lock()
		defer l.FileSystem.mu.Unlock()
		if len(l.FileSystem.mu.owned) > 0 {
			t.Errorf("owners left: %v", l.FileSystem.mu.owned)
		}
	})
}

func TestSameTreeAtOnceIsMountedOnce(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		ids := l.small(t, 10)
		var g errgroup.Group
		for i := range 16 {
			g.Go(func() error {
				_, err := l.Mount(t.Context(), itoa(i), over(ids...))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if points := l.mounts(); len(points) != 2 {
			t.Errorf("mounted: %v", points)
		}
	})
}

// TestWaitersLeave: a call that waits for the mount of another call ends with its
// context.
func TestWaitersLeave(t *testing.T) {
	l := newLab(t, "erofs")
	ids := l.small(t, 1)
	m, err := l.enter(key{tree: over(ids...).Key()})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.turn.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.Mount(ctx, "o", over(ids...)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("mount: %v", err)
	}
	m.turn.Release(1)
	l.leave(m)
	l.mount("o", ids...)
}

// TestImpatientRelease: an unmount that nobody waits for still comes before
// the next mount.
func TestImpatientRelease(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		root, data := random(1, treetest.Shape{Inodes: 50})
		id := l.add(t, "layer", root, data)
		hurried, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			compare(t, l.mount("o", id), root, data)
			_ = l.Release(hurried, "o") // may be over in time
		}
	})
}

func TestFailedMountLeavesNothing(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		ids := l.small(t, 2)
		absent := store.ID{Blob: "sha256:absent"}
		if _, err := l.Mount(t.Context(), "o", over(ids[0], absent)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("mount of a layer that is not there: %v", err)
		}
		if _, err := l.Mount(t.Context(), "o", over()); err == nil {
			t.Error("mounted no layers")
		}
		// Something is in the way of the mount point.
		image, err := l.image(t.Context(), over(ids...), []Layer{l.book(ids[0]), l.book(ids[1])})
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(l.treesDir(), fmt.Sprint(image.Number))
		if err := os.WriteFile(target, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Mount(t.Context(), "o", over(ids...)); err == nil {
			t.Error("mounted on a file")
		}
		_ = os.Remove(target)
		if points := l.mounts(); len(points) != 1 {
			t.Errorf("mounted: %v", points)
		}
		for _, id := range ids {
			waittest.For(t, "layer closed", func() bool { return l.book(id).open.Load() == 0 })
		}
		l.mount("o", ids...)
	})
}

func TestWarm(t *testing.T) {
	l := newLab(t, "erofs")
	ids := l.small(t, 3)
	l.Warm(over(ids...))
	waittest.For(t, "image made", func() bool {
		_, err := l.opts.Images.Tree(t.Context(), over(ids...))
		return err == nil
	})
	if points := l.mounts(); len(points) != 1 {
		t.Errorf("mounted: %v", points)
	}
	l.mount("o", ids...)
}

// TestReleasedTreeBelowOverlay: a tree lives on below an overlay, and so must
// its layers, but not longer.
func TestReleasedTreeBelowOverlay(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		b, path := l.shelve(t, 1<<20)
		want := make([]byte, 1<<20)
		t.Run("below", func(t *testing.T) {
			target, _ := writable(t, testDir(t), path)
			for _, name := range []string{"a", "b"} {
				l.release("o")
				if l.isMounted(path) {
					t.Error("still mounted")
				}
				_, _ = b.data.ReadAt(want, files(0).Dir.Lookup(name).Data.Offset)
				if got, err := os.ReadFile(filepath.Join(target, name)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
				if _, err := os.Lstat(filepath.Join(target, "not "+name)); !errors.Is(err, os.ErrNotExist) {
					t.Error(err)
				}
				// Mounted again, and released, it does not end either.
				l.mount("o", b.ID())
			}
			l.release("o")
			if b.open.Load() == 0 {
				t.Error("the layer is closed")
			}
		})
		waittest.For(t, "layer closed", func() bool { return b.open.Load() == 0 })
	})
}

// TestReleaseDuringRead: a read that is under way when its tree is released
// ends as if it were not, and only then the layer is closed.
func TestReleaseDuringRead(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		b, path := l.shelve(t, 64<<10)
		waiting, goOn := stall(t, b, inB)
		var closed atomic.Bool
		stalled := *b.hook.Load()
		b.onRead(func(ctx context.Context, off int64, n int) error {
			err := stalled(ctx, off, n)
			if b.open.Load() == 0 {
				closed.Store(true)
			}
			return err
		})
		c := startChild(t, "read", nil, filepath.Join(path, "a"))
		<-waiting
		l.release("o")
		if b.open.Load() == 0 {
			t.Error("the layer is closed during a read")
		}
		goOn()
		c.line(t) // opened
		if line := c.line(t); line != "65536 <nil>" {
			t.Errorf("reader says %q", line)
		}
		if closed.Load() {
			t.Error("the layer was closed during a read")
		}
		waittest.For(t, "layer closed", func() bool { return b.open.Load() == 0 })
	})
}

// TestCloseWhileInUse: readers that outlive the daemon get errors, never
// zeros, and do not hold it up.
func TestCloseWhileInUse(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		b, path := l.shelve(t, 1<<20)
		target, _ := writable(t, testDir(t), path)
		f, err := os.Open(filepath.Join(path, "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		waiting, _ := stall(t, b, inB)
		c := startChild(t, "read", nil, filepath.Join(target, "a"))
		<-waiting
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.line(t) // opened
		if line := c.line(t); !strings.HasPrefix(line, "0 ") || line == "0 <nil>" {
			t.Errorf("reader says %q", line)
		}
		if n, err := f.Read(make([]byte, 10)); err == nil {
			t.Errorf("read %d bytes of a file system that is closed", n)
		}
		if _, err := l.Mount(t.Context(), "o", over(b.ID())); !errors.Is(err, ErrClosed) {
			t.Errorf("mount after close: %v", err)
		}
	})
}

func TestChoice(t *testing.T) {
	for _, c := range []struct{ option, driver string }{
		{"", "erofs"}, {"auto", "erofs"}, {"erofs", "erofs"}, {"loop", "loop"}, {"fuse", "fuse"},
	} {
		if got := newLab(t, c.option).Driver(); got != c.driver {
			t.Errorf("option %q gives driver %q", c.option, got)
		}
	}
	root := testDir(t)
	s := newShelf(t, root)
	if _, err := New(t.Context(), s.options("ntfs")); err == nil || !strings.Contains(err.Error(), "ntfs") {
		t.Errorf("unknown driver: %v", err)
	}
	checkNothingLeft(t, root)
}

// TestChoiceOnTmpfs: EROFS mounts no image from a tmpfs, through a loop device
// it does.
func TestChoiceOnTmpfs(t *testing.T) {
	for _, c := range []struct{ option, driver string }{{"auto", "loop"}, {"erofs", ""}} {
		t.Run(c.option, func(t *testing.T) {
			root := testDir(t)
			mountTmpfs(t, root)
			s := newShelf(t, root)
			f, err := New(t.Context(), s.options(c.option))
			if c.driver == "" {
				if err == nil {
					t.Error("works")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if f.Driver() != c.driver {
				t.Errorf("driver %s", f.Driver())
			}
			if err := f.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
