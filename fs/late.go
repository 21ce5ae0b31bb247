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

// A late READ is one that failed because it timed out. A READ that begins within the range
// of a late READ is taken for its repetition by the kernel, and does not wait: for sameFor
// after it if both are of the same thread, and for anyFor if one is of a kernel thread, since
// the READs of loop devices come from any kernel thread.
//
// After a failed READ the kernel reads the pages of its range, read-ahead or requested, one
// by one (mm/filemap.c, filemap_get_pages; for a page fault filemap_fault, once or twice),
// immediately. If each of these READs waited, the reader would wait for two or three times
// its timeout. The kernel repeats a READ as soon as the reader runs; a READ at a later time,
// or of another thread, is of another reader, and waits.
const (
	sameFor = 200 * time.Millisecond
	anyFor  = 50 * time.Millisecond
)

// maxLate bounds the late READs that are stored.
const maxLate = 1024

// late stores the recent late READs.
type late struct {
	some atomic.Bool // reads is not empty
	mu   struct {
		sync.Mutex
		reads []lateRead // ordered by ended
		// same and any are sameFor and anyFor, except in tests.
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

// add stores a late READ.
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

// repeats reports whether a READ repeats a late one, as far as that can be determined.
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

// dropLocked removes READs older than l.mu.same.
func (l *late) dropLocked(now time.Time) {
	l.mu.reads = slices.DeleteFunc(l.mu.reads, func(r lateRead) bool { return now.Sub(r.ended) > l.mu.same })
	l.some.Store(len(l.mu.reads) > 0)
}

// userThread returns pid, or 0 if it is of a kernel thread, which reads on behalf of many
// readers: such a thread has no executable (proc_pid_exe(5)). A thread that has ended has
// none either.
func userThread(pid uint32) uint32 {
	if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); errors.Is(err, os.ErrNotExist) {
		return 0
	}
	return pid
}

// noTime returns ctx with an expired deadline: a read gets only local data.
func noTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, time.Unix(0, 0))
}
