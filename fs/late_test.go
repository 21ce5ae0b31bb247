package fs

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReaderWaitsOnce: when a reader's time is over it gets an error, though the
// kernel sends what it failed to read ahead again, once or twice, also for a page
// fault. Bytes that are local then are read, and later the reader waits anew.
func TestReaderWaitsOnce(t *testing.T) {
	onEachDriver(t, func(t *testing.T, l *lab) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		const page, local = 1 << 20, 3 << 20 // where is read
		b, path := l.shelve(t, 8<<20)
		waits := make(chan int64, 1000) // offsets
		b.onRead(func(ctx context.Context, off int64, n int) error {
			switch {
			case off+int64(n) > local:
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			}
			if off <= page && off+int64(n) > page {
				waits <- off
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
		if n := len(waits); n != 1 {
			t.Errorf("a read waited %d times, want once", n)
		}
		if _, err := io.ReadFull(io.NewSectionReader(f, local, 4096), make([]byte, 4096)); err != nil {
			t.Errorf("what is local: %v", err)
		}
		time.Sleep(lateFor + 100*time.Millisecond) // or it would be a repetition
		for len(waits) > 0 {
			<-waits
		}
		m, err := unix.Mmap(int(f.Fd()), 0, 8<<20, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(m) //nolint:errcheck // ends with the test
		if err := unix.Madvise(m[page:page+4096], unix.MADV_POPULATE_READ); !errors.Is(err, unix.EFAULT) {
			t.Errorf("page fault: %v, want EFAULT", err)
		}
		if n := len(waits); n != 1 {
			t.Errorf("a page fault waited %d times, want once", n)
		}
	})
}

// TestLate: only what starts within a READ that ended late repeats it, and not for
// ever.
func TestLate(t *testing.T) {
	l, now := &late{}, time.Now()
	if l.repeats(1, 0, now) {
		t.Error("nothing was late")
	}
	l.add(1, 100, 200, now)
	for _, c := range []struct {
		node uint64
		off  int64
		at   time.Duration
		want bool
	}{
		{1, 100, 0, true}, {1, 199, lateFor, true}, {1, 99, 0, false}, {1, 200, 0, false}, {2, 100, 0, false},
		{1, 100, lateFor + 1, false}, {1, 100, 0, false},
	} {
		if got := l.repeats(c.node, c.off, now.Add(c.at)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for i := range uint64(2 * maxLate) {
		l.add(i, 0, 1, now)
	}
	if n := len(l.mu.reads); n != maxLate {
		t.Errorf("%d are remembered", n)
	}
}
