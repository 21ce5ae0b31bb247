package fs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/internal/treetest"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/tree"
)

// files returns a tree with the files a and b of size bytes each.
func files(size int64) *tree.Inode {
	root := tree.NewDir(0o755)
	root.Dir.Add("a", &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: size})
	root.Dir.Add("b", &tree.Inode{Mode: unix.S_IFREG | 0o644, Size: size, Data: tree.Extent{Offset: 1 << 30}})
	return root
}

const inB = 1 << 30 // offsets from here on are of the file b

// shelve mounts files and returns their layer and where they are.
func (l *lab) shelve(t *testing.T, size int64) (*book, string) {
	t.Helper()
	id := l.add(t, "files", files(size), treetest.Pattern(1))
	return l.book(id), l.mount("o", id)
}

func TestErrorOfLayerIsEIO(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		b, path := l.shelve(t, 1<<20)
		b.onRead(func(_ context.Context, off int64, n int) error {
			// The kernel asks for more than was asked of it; what of that
			// fails must not become zeros.
			if off <= 512<<10 && off+int64(n) > 512<<10 {
				return errors.New("not today")
			}
			return nil
		})
		got, err := os.ReadFile(filepath.Join(path, "a"))
		if !errors.Is(err, unix.EIO) {
			t.Errorf("read: %v, want EIO", err)
		}
		want := make([]byte, len(got))
		if _, err := b.data.ReadAt(want, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("what was read before the error, %d bytes, is wrong", len(got))
		}
		// It is not remembered.
		b.onRead(func(context.Context, int64, int) error { return nil })
		if err := treetest.CompareData(path, files(1<<20), b.data); err != nil {
			t.Error(err)
		}
	})
}

// TestCancelledFetchIsEIO: a fetch that others gave up is no reason to tell a
// living reader that it was interrupted.
func TestCancelledFetchIsEIO(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		b, path := l.shelve(t, 4096)
		b.onRead(func(context.Context, int64, int) error { return context.Canceled })
		if _, err := os.ReadFile(filepath.Join(path, "a")); !errors.Is(err, unix.EIO) {
			t.Errorf("read: %v, want EIO", err)
		}
	})
}

// stall makes reads of b below before wait, until the test ends or go on is
// called. waiting is told of each.
func stall(t *testing.T, b *book, before int64) (waiting chan context.Context, goOn func()) {
	gate := make(chan struct{})
	waiting = make(chan context.Context, 1000)
	b.onRead(func(ctx context.Context, off int64, _ int) error {
		if off >= before {
			return nil
		}
		waiting <- ctx
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	open := false
	goOn = func() {
		if !open {
			close(gate)
		}
		open = true
	}
	t.Cleanup(goOn)
	return waiting, goOn
}

func TestKilledReaderDies(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		for _, how := range []string{"read", "touch"} {
			t.Run(how, func(t *testing.T) {
				id := l.add(t, how, files(1<<20), treetest.Pattern(1))
				waiting, _ := stall(t, l.book(id), inB)
				c := startChild(t, how, nil, filepath.Join(l.mount(how, id), "a"))
				<-waiting
				c.kill(t)
			})
		}
	})
}

// TestKillEndsRead reads the data file itself, which waits for FUSE.
func TestKillEndsRead(t *testing.T) {
	for _, driver := range []string{"erofs", "loop"} {
		t.Run(driver, func(t *testing.T) {
			l := newLab(t, driver)
			b, _ := l.shelve(t, 1<<20)
			waiting, _ := stall(t, b, inB)
			c := startChild(t, "read", nil, filepath.Join(l.exportDir(), dataName(b)))
			ctx := <-waiting
			if ctx.Err() != nil {
				t.Error("context ended before the reader was killed")
			}
			c.kill(t)
			<-ctx.Done()
		})
	}
}

// TestSignalsDisturbNoReader: a signal that a reader handles must not fail its
// read, nor kill it by SIGBUS.
func TestSignalsDisturbNoReader(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		for _, how := range []string{"read", "touch"} {
			t.Run(how, func(t *testing.T) {
				id := l.add(t, how, files(64<<10), treetest.Pattern(1))
				disturb(t, l.book(id), how, filepath.Join(l.mount(how, id), "a"))
			})
		}
	})
	t.Run("data file", func(t *testing.T) { // waits for FUSE itself
		l := newLab(t, "erofs")
		root := tree.NewDir(0o755)
		root.Dir.Add("a", &tree.Inode{Mode: unix.S_IFREG, Size: 64 << 10})
		id := l.add(t, "layer", root, treetest.Pattern(1))
		l.mount("o", id)
		disturb(t, l.book(id), "read", filepath.Join(l.exportDir(), dataName(l.book(id))))
	})
}

// disturb sends signals to a child that reads a file of 64 KiB.
func disturb(t *testing.T, b *book, how, path string) {
	t.Helper()
	waiting, goOn := stall(t, b, inB)
	c := startChild(t, how, nil, path)
	<-waiting
	signalThreads(t, c.Process.Pid)
	goOn()
	c.line(t) // opened
	if line := c.line(t); !strings.HasPrefix(line, "65536 ") || how == "read" && line != "65536 <nil>" {
		t.Errorf("reader says %q", line)
	}
	if err := c.wait(t); err != nil {
		t.Error(err)
	}
}

// signalThreads sends signals to all threads of a process for some time.
func signalThreads(t *testing.T, pid int) {
	t.Helper()
	threads, err := filepath.Glob("/proc/" + itoa(pid) + "/task/*")
	if err != nil || len(threads) == 0 {
		t.Fatal("no threads", err)
	}
	for range 30 {
		for _, thread := range threads {
			_ = unix.Tgkill(pid, atoi(filepath.Base(thread)), unix.SIGUSR1)
			_ = unix.Tgkill(pid, atoi(filepath.Base(thread)), unix.SIGURG)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestSlowReadDelaysNoOther: a read that waits for the network must not hold
// up those that need not.
func TestSlowReadDelaysNoOther(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		b, path := l.shelve(t, 1<<20)
		waiting, goOn := stall(t, b, inB)
		slow := startChild(t, "read", nil, filepath.Join(path, "a"))
		<-waiting
		got, err := os.ReadFile(filepath.Join(path, "b"))
		if err != nil || len(got) != 1<<20 {
			t.Errorf("read %d bytes: %v", len(got), err)
		}
		goOn()
		if err := slow.wait(t); err != nil {
			t.Error(err)
		}
	})
}

// TestReadaheadIsParallel: the kernel has several reads of one reader under
// way, so that their latencies do not add up.
func TestReadaheadIsParallel(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		b, path := l.shelve(t, 4<<20)
		waiting, goOn := stall(t, b, inB)
		f, err := os.Open(filepath.Join(path, "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, off := range []int64{0, 1 << 20} {
			if err := unix.Fadvise(int(f.Fd()), off, 64<<10, unix.FADV_WILLNEED); err != nil {
				t.Fatal(err)
			}
		}
		<-waiting
		<-waiting // the first has not been answered
		goOn()
	})
}

// TestWalkSendsNothing: the kernel knows the whole tree by itself.
func TestWalkSendsNothing(t *testing.T) {
	for _, driver := range []string{"erofs", "loop"} {
		t.Run(driver, func(t *testing.T) {
			l := newLab(t, driver)
			root, data := random(1, treetest.Shape{Inodes: 2000, MaxXattr: 500, LongLinks: true})
			path := l.mount("o", l.add(t, "layer", root, data))
			before := l.requests()
			if _, err := treetest.FromDir(path); err != nil { // stat, readdir, readlink, xattrs
				t.Fatal(err)
			}
			for op, n := range l.requests() {
				if n != before[op] {
					t.Errorf("%v requests %s", n-before[op], op)
				}
			}
		})
	}
}

// TestWalkIsRemembered: the fuse driver is asked once for everything.
func TestWalkIsRemembered(t *testing.T) {
	l := newLab(t, "fuse")
	root, data := random(1, treetest.Shape{Inodes: 500})
	path := l.mount("o", l.add(t, "layer", root, data))
	walk := func() {
		err := filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if _, err := e.Info(); err != nil {
				return err
			}
			if e.Type() == fs.ModeSymlink {
				_, err = os.Readlink(path)
			}
			_, _ = os.Lstat(filepath.Join(path, "absent"))
			if e.Type().IsRegular() {
				_, err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	walk()
	before := l.requests()
	walk()
	for op, n := range l.requests() {
		if n != before[op] {
			t.Errorf("%v requests %s in the second walk", n-before[op], op)
		}
	}
	if before[metrics.OpRead] == 0 || before[metrics.OpReaddir] == 0 {
		t.Errorf("requests of the first walk: %v", before)
	}
}

// TestDataFile reads what the kernel sees of a layer: whole blocks.
func TestDataFile(t *testing.T) {
	l := newLab(t, "erofs")
	root := tree.NewDir(0o755)
	root.Dir.Add("f", &tree.Inode{Mode: unix.S_IFREG, Size: 5000})
	id := l.add(t, "layer", root, treetest.Pattern(1))
	l.mount("o", id)
	got, err := os.ReadFile(filepath.Join(l.exportDir(), dataName(l.book(id))))
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 8192)
	_, _ = treetest.Pattern(1).ReadAt(want[:5000], 0)
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, or zeros where there are none", len(got))
	}
	f, err := os.Open(filepath.Join(l.exportDir(), dataName(l.book(id))))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := f.ReadAt(make([]byte, 10), 8190); n != 2 || err != io.EOF {
		t.Errorf("read across the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(make([]byte, 10), 100_000); n != 0 || err != io.EOF {
		t.Errorf("read beyond the end: %d, %v", n, err)
	}
}
