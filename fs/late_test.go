package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestReaderWaitsOnce: when a reader's time is over it gets an error, though the
// kernel sends what it failed to read ahead again, once or twice, also for a page
// fault. Bytes that are local then are read, and the next reader waits anew.
func TestReaderWaitsOnce(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		const page, fault, local = 1 << 20, 2 << 20, 3 << 20 // where is read
		b, path := l.shelve(t, 8<<20)
		l.export.late.within(time.Hour) // however busy the machine is
		var back atomic.Bool
		waits := make(chan int64, 1000) // offsets
		b.onRead(func(ctx context.Context, off int64, n int) error {
			switch {
			case off+int64(n) > local || back.Load():
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			}
			for _, at := range []int64{page, fault} {
				if off <= at && off+int64(n) > at {
					waits <- at
				}
			}
			return context.DeadlineExceeded
		})
		f, err := os.Open(filepath.Join(path, "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.ReadAt(make([]byte, 4096), page); !errors.Is(err, unix.EIO) {
			t.Errorf("read: %v, want EIO", err)
		}
		if n := count(waits, page); n != 1 {
			t.Errorf("a read waited %d times, want once", n)
		}
		if _, err := io.ReadFull(io.NewSectionReader(f, local, 4096), make([]byte, 4096)); err != nil {
			t.Errorf("what is local: %v", err)
		}
		back.Store(true)
		l.export.late.within(0)
		if _, err := f.ReadAt(make([]byte, 4096), page); err != nil {
			t.Errorf("a read when the bytes are back: %v", err)
		}
		back.Store(false)
		l.export.late.within(time.Hour)
		if said := populate(t, f.Name(), fault); said != unix.EFAULT.Error() {
			t.Errorf("page fault: %q, want EFAULT", said)
		}
		if n := count(waits, fault); n != 1 {
			t.Errorf("a page fault waited %d times, want once", n)
		}
	})
}

// populate faults in the page of a file at off, and returns with which error that
// failed. A child does it: while a thread is in a page fault no other one of its process
// can map memory, and those of this process serve the file.
func populate(t *testing.T, path string, off int) string {
	t.Helper()
	c := startChild(t, "populate", nil, path, strconv.Itoa(off))
	defer c.wait(t) //nolint:errcheck // it has said all
	return c.line(t)
}

// childPopulate faults in one page of a file and prints how that failed.
func childPopulate(args []string) error {
	off, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	m, err := mapFile(args[0])
	if err != nil {
		return err
	}
	fmt.Println(unix.Madvise(m[off:off+4096], unix.MADV_POPULATE_READ))
	return nil
}

// count empties a channel and returns how often it had at.
func count(c chan int64, at int64) (n int) {
	for {
		select {
		case off := <-c:
			if off == at {
				n++
			}
		default:
			return n
		}
	}
}

// within has repetitions recognized for so long.
func (l *late) within(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.same, l.mu.any = d, d
}

// TestLate: only what starts within a READ that ended late repeats it, and not for
// ever, least of all from another thread.
func TestLate(t *testing.T) {
	read := func(node uint64, pid uint32, off uint64) *fuse.ReadIn {
		in := &fuse.ReadIn{Offset: off, Size: 100}
		in.NodeId, in.Pid = node, pid
		return in
	}
	l, now := newLate(), time.Now()
	self, other, kernel := uint32(os.Getpid()), uint32(1), uint32(2) // kthreadd
	if l.repeats(read(1, self, 0), now) {
		t.Error("nothing was late")
	}
	l.add(read(1, self, 100), now)
	l.add(read(3, kernel, 100), now)
	for _, c := range []struct {
		node uint64
		pid  uint32
		off  uint64
		at   time.Duration
		want bool
	}{
		{1, self, 100, 0, true}, {1, self, 199, sameFor, true}, {1, self, 99, 0, false}, {1, self, 200, 0, false}, {2, self, 100, 0, false},
		{1, other, 100, 0, false}, {1, kernel, 100, anyFor, true}, {1, kernel, 100, anyFor + 1, false},
		{3, kernel, 100, anyFor, true}, {3, kernel, 100, anyFor + 1, false}, {3, self, 100, anyFor, true},
		{1, self, 100, sameFor + 1, false}, {1, self, 100, 0, false},
	} {
		if got := l.repeats(read(c.node, c.pid, c.off), now.Add(c.at)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for i := range uint64(2 * maxLate) {
		l.add(read(i, self, 0), now)
	}
	if n := len(l.mu.reads); n != maxLate {
		t.Errorf("%d are remembered", n)
	}
}
