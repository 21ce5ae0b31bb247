package fs

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lateFor is how long after a READ that ended when its reader's time was over
// those bytes are not waited for again.
//
// The kernel repeats a READ that failed: what it read ahead, also of the page that
// the reader asked for, is then read page by page (mm/filemap.c, filemap_get_pages;
// for a page fault filemap_fault, once or twice), and each page at once. If each of
// them waited, a reader would wait for two or three times as long as it is
// promised. Another reader that waits for the page has waited as long.
const lateFor = time.Second

// maxLate bounds the READs that are remembered.
const maxLate = 1024

// late is the READs that ended lately when the time was over.
type late struct {
	some atomic.Bool // there are any
	mu   struct {
		sync.Mutex
		reads []lateRead // in the order of their ends
	}
}

type lateRead struct {
	node     uint64
	off, end int64 // bytes of the node
	until    time.Time
}

// add says that the READ of [off, end) of a node ended so.
func (l *late) add(node uint64, off, end int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(now)
	if len(l.mu.reads) == maxLate {
		l.mu.reads = l.mu.reads[1:]
	}
	l.mu.reads = append(l.mu.reads, lateRead{node, off, end, now.Add(lateFor)})
	l.some.Store(true)
}

// repeats reports whether a READ at off of a node repeats such a one.
func (l *late) repeats(node uint64, off int64, now time.Time) bool {
	if !l.some.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(now)
	return slices.ContainsFunc(l.mu.reads, func(r lateRead) bool { return r.node == node && r.off <= off && off < r.end })
}

// dropLocked forgets what is long ago.
func (l *late) dropLocked(now time.Time) {
	l.mu.reads = slices.DeleteFunc(l.mu.reads, func(r lateRead) bool { return now.After(r.until) })
	l.some.Store(len(l.mu.reads) > 0)
}

// noTime returns ctx as that of a reader whose time is over: it gets what is local.
func noTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, time.Unix(0, 0))
}
