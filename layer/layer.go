package layer

import (
	"context"
	"sync"
	"time"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
)

// Layer is a layer that can be read. It may be used concurrently.
type Layer struct {
	set     *Set
	data    *store.Layer
	table   index.Table
	sources sources

	// ctx lives from the first use of the layer to its last Close; runs
	// belong to it, not to the readers that wait for them.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // runs under way

	following chan struct{} // one for each program whose libraries are being fetched

	refs    int     // guarded by set.mu
	filling filling // guarded by set.mu
	mu      struct {
		sync.Mutex
		// runs are under way. A chunk is in at most one, but for those that
		// a reader got by a request of his own, and those that were lost.
		runs []*run
		// ahead is what the layer's recent misses tell of the next.
		ahead readahead
		// followed are chunks with the heads of programs whose libraries
		// were asked for.
		followed bits
		// used is when the layer was opened, or a reader last had to wait.
		used time.Time
	}
}

// ID returns the layer's identity.
func (l *Layer) ID() store.ID { return l.data.ID() }

// Number returns the layer's number in the store, its alone for ever.
func (l *Layer) Number() uint64 { return l.data.Number() }

// DataSize returns the size in bytes of the layer's data file.
func (l *Layer) DataSize() int64 { return l.data.DataSize() }

// Full reports whether all of the layer is present.
func (l *Layer) Full() bool { return l.data.Full() }

// Tree returns the layer's tree, which the caller must not change.
func (l *Layer) Tree() (*tree.Inode, error) { return l.set.tree(l.data) }

// Close gives the layer back. The last one to do so ends what is under way.
func (l *Layer) Close() error { return l.set.close(l) }

// stop ends the runs and releases the data file.
func (l *Layer) stop() error {
	l.cancel()
	l.wg.Wait()
	return l.data.Close()
}
