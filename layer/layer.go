package layer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// ErrTimeout is returned to a reader whose bytes did not come in time.
var ErrTimeout = errors.New("no bytes within the read timeout")

// Layer is a layer that can be read. It may be used concurrently.
type Layer struct {
	set     *Set
	data    *store.Layer
	table   index.Table
	sources sources
	memory  memory // for chunks that the disk has no room for

	// ctx lives from the first use of the layer to its last Close; runs
	// belong to it, not to the readers that wait for them.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // runs under way

	refs int // guarded by set.mu
	mu   struct {
		sync.Mutex
		// runs are under way and do not overlap: a chunk is in at most one.
		runs []*run
		// ahead is what the layer's recent misses tell of the next.
		ahead readahead
		// used is when a reader last asked for something.
		used time.Time
	}
}

// ID returns the layer's identity.
func (l *Layer) ID() store.ID { return l.data.ID() }

// Number returns the layer's number in the store, its alone for ever.
func (l *Layer) Number() uint64 { return l.data.Number() }

// DataSize returns the size in bytes of the layer's data file.
func (l *Layer) DataSize() int64 { return l.data.DataSize() }

// Usage returns the bytes and inodes that the layer takes on disk.
func (l *Layer) Usage() (bytes, inodes int64, err error) { return l.data.Usage() }

// Tree returns the layer's tree, which the caller must not change.
func (l *Layer) Tree() (*tree.Inode, error) { return l.set.tree(l.data) }

// ReadAt fills p from off of the data file, fetching what is absent. It
// returns len(p) or an error; p must end within the data file. It waits at
// most for the set's read timeout, or until ctx ends.
func (l *Layer) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := l.readAt(ctx, p, off)
	if err != nil {
		return n, fmt.Errorf("layer %s [%d,%d): %w", l.ID().Blob, off, off+int64(len(p)), err)
	}
	return n, nil
}

// maxLosses is how often a read starts again because the disk lost what was
// written to it.
const maxLosses = 3

func (l *Layer) readAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	need := l.overlap(off, int64(len(p)))
	for range maxLosses {
		err = l.ensure(ctx, need)
		if errors.Is(err, errNoRoom) {
			return l.readThrough(ctx, p, off, need)
		}
		if err == nil {
			n, err = l.data.ReadAt(p, off)
		}
		if !errors.Is(err, store.ErrLost) && (err != nil || l.present(need)) {
			return n, err
		}
	}
	return 0, errors.Join(err, store.ErrLost)
}

// present reports whether all chunks of s are present. It is asked after a
// read, too: a disk that loses bytes may say so only then.
func (l *Layer) present(s span) bool {
	for n := s.first; n < s.end; n++ {
		if l.data.State(n) != store.Present {
			return false
		}
	}
	return true
}

// overlap returns the chunks that have bytes in [off, off+n).
func (l *Layer) overlap(off, n int64) span {
	first := l.table.Search(off)
	end := first
	for end < l.table.Len() && l.table.At(end).DataOffset < off+n {
		end++
	}
	return span{first, end}
}

// ensure makes the chunks of need present.
func (l *Layer) ensure(ctx context.Context, need span) error {
	var waiting context.Context
	for n := need.first; n < need.end; n++ {
		for l.data.State(n) != store.Present {
			if waiting == nil {
				var cancel context.CancelFunc
				waiting, cancel = context.WithTimeoutCause(ctx, l.set.opts.ReadTimeout, ErrTimeout)
				defer cancel()
			}
			if err := l.obtain(waiting, n, need.end); err != nil {
				return err
			}
		}
	}
	l.readAhead(need)
	return nil
}

// obtain waits until the n-th chunk was fetched, or verified again. A reader
// that needs the chunks up to end lets one run fetch them all.
func (l *Layer) obtain(ctx context.Context, n, end int) error {
	if l.data.State(n) == store.Doubtful {
		return l.recheck(n)
	}
	r := l.join(n, end)
	if r == nil {
		return nil // became present meanwhile
	}
	return r.wait(ctx, n)
}

// recheck verifies a chunk that was written during an earlier boot.
func (l *Layer) recheck(n int) error {
	c := l.table.At(n)
	p := buffers.get(c.Size)
	defer buffers.put(p)
	state := store.Present
	if _, err := l.data.ReadAt(p, c.DataOffset); err != nil || verify(c, p) != nil {
		state = store.Absent
	}
	return l.data.Mark(n, state)
}

// Close gives the layer back. The last one to do so ends what is under way.
func (l *Layer) Close() error { return l.set.close(l) }

// stop ends the runs and releases the data file.
func (l *Layer) stop() error {
	l.cancel()
	l.wg.Wait()
	return l.data.Close()
}
