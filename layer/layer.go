package layer

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// Layer is an open layer. It may be used concurrently.
type Layer struct {
	set     *Set
	data    *store.Layer
	table   index.Table
	sources sources

	// ctx lasts from the first reference to the last Close. Runs use it, and not the
	// contexts of the readers that wait for them.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // runs in progress

	proof     proving
	linkedSem *semaphore.Weighted // bounds the concurrent calls of fetchLinked

	refs    int     // guarded by set.mu
	filling filling // guarded by set.mu
	mu      struct {
		sync.Mutex
		// runs are the runs in progress. INVARIANT: a chunk is in at most one of
		// them, except if a reader got a run of its own (see join), or the disk
		// lost the chunk.
		runs []*run
		// ahead predicts the next misses from recent ones.
		ahead readahead
		// linked are the chunks with heads of programs for which fetchLinked was
		// started.
		linked bits
		// active is when the layer was opened, or a reader last had to wait.
		active time.Time
	}
}

// ID returns the layer's identity.
func (l *Layer) ID() store.ID { return l.data.ID() }

// Number returns the layer's number in the store, which is never reused.
func (l *Layer) Number() uint64 { return l.data.Number() }

// DataSize returns the size in bytes of the layer's data file.
func (l *Layer) DataSize() int64 { return l.data.DataSize() }

// Full reports whether all chunks of the layer are present.
func (l *Layer) Full() bool { return l.data.Full() }

// Tree returns the layer's tree, which the caller must not change.
func (l *Layer) Tree() (*tree.Inode, error) { return l.set.tree(l.data) }

// Close drops a reference to the layer. The last one ends all work in progress.
func (l *Layer) Close() error { return l.set.close(l) }

// stop ends the runs and releases the data file.
func (l *Layer) stop() error {
	l.cancel()
	l.wg.Wait()
	return l.data.Close()
}
