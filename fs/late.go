package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A READ that begins among the bytes of one that ended because its reader's time
// was over is taken for its repetition, and does not wait: for sameFor if the same
// thread sends it, and for anyFor whoever does, since those of loop devices come
// from any kernel thread.
//
// The kernel repeats a READ that failed: what it read ahead, also of the page that
// the reader asked for, is then read page by page (mm/filemap.c, filemap_get_pages;
// for a page fault filemap_fault, once or twice), and each page at once. If each of
// them waited, a reader would wait for two or three times as long as it is
// promised. It does so as soon as the reader runs; later, or from another thread,
// the READ is another reader's, which waits.
const (
	sameFor = 200 * time.Millisecond
	anyFor  = 50 * time.Millisecond
)

// maxLate bounds the READs that are remembered.
const maxLate = 1024

// late is the READs that ended lately when the time was over.
type late struct {
	some atomic.Bool // there are any
	mu   struct {
		sync.Mutex
		reads []lateRead // in the order of their ends
		// same and any are sameFor and anyFor, but in tests.
		same, any time.Duration
	}
}

func newLate() *late {
	l := &late{}
	l.mu.same, l.mu.any = sameFor, anyFor
	return l
}

type lateRead struct {
	node     uint64
	pid      uint32 // of the thread; 0 for one of the kernel
	off, end int64  // bytes of the node
	ended    time.Time
}

// add says that in, a READ, ended so.
func (l *late) add(in *fuse.ReadIn, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(now)
	if len(l.mu.reads) == maxLate {
		l.mu.reads = l.mu.reads[1:]
	}
	l.mu.reads = append(l.mu.reads, lateRead{in.NodeId, userThread(in.Pid), int64(in.Offset), int64(in.Offset) + int64(in.Size), now})
	l.some.Store(true)
}

// repeats reports whether in, a READ, repeats such a one, as far as can be told.
func (l *late) repeats(in *fuse.ReadIn, now time.Time) bool {
	if !l.some.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(now)
	off, pid := int64(in.Offset), userThread(in.Pid)
	return slices.ContainsFunc(l.mu.reads, func(r lateRead) bool {
		if r.node != in.NodeId || off < r.off || off >= r.end {
			return false
		}
		if r.pid == 0 || pid == 0 {
			return now.Sub(r.ended) <= l.mu.any
		}
		return r.pid == pid
	})
}

// dropLocked forgets what is long ago.
func (l *late) dropLocked(now time.Time) {
	l.mu.reads = slices.DeleteFunc(l.mu.reads, func(r lateRead) bool { return now.Sub(r.ended) > l.mu.same })
	l.some.Store(len(l.mu.reads) > 0)
}

// userThread returns pid, or 0 if it is that of a kernel thread, which reads for
// many: those have no executable (proc_pid_exe(5)). Nor does one that has ended.
func userThread(pid uint32) uint32 {
	if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); errors.Is(err, os.ErrNotExist) {
		return 0
	}
	return pid
}

// noTime returns ctx as that of a reader whose time is over: it gets what is local.
func noTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, time.Unix(0, 0))
}
