package layer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
)

// fetch makes the chunks of r present. As long as a reader waits for one of them, it
// retries after every error of a registry: the time of a reader is bounded, and the next
// answer may succeed. A run without a waiting reader tries each source once, with the
// retries of package fetch.
func (l *Layer) fetch(r *run) error {
	for tries := 0; ; tries++ {
		head := r.head()
		err := l.fetchOnce(r)
		if err == nil || l.ctx.Err() != nil || !isTransient(err) || r.abandon(err) {
			return err
		}
		if r.head() > head {
			tries = 0
		}
		select {
		case <-time.After(l.set.fetch.Backoff(tries)):
		case <-l.ctx.Done():
			return err
		}
		r.retried = true
	}
}

// fetchOnce tries each source, and if these may not be read, further images: see
// fetchElsewhere. If the layer is such that no source can help, the store drops it: it is
// imported again for the next mount.
func (l *Layer) fetchOnce(r *run) error {
	if l.table.Compression() == index.Whole {
		return errors.Join(errWhole, l.data.Damaged(errWhole))
	}
	err := l.fetchFrom(l.sources.blobs(), r)
	if errors.Is(err, index.ErrPoints) {
		// Else the layer would be opened with the same points again.
		return errors.Join(err, l.data.Damaged(err), l.set.store.DropIndex(l.ID().Blob))
	}
	if err != nil {
		err = l.fetchElsewhere(r, err)
	}
	return err
}

// isTransient reports whether the error of a run can be resolved by a registry.
func isTransient(err error) bool {
	for _, final := range []error{errWhole, index.ErrPoints, errNoRoom, errNoSource, store.ErrLost} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// errWhole is the error of a run in a layer whose chunks cannot be fetched one by one.
var errWhole = errors.New("a chunk is lost that cannot be fetched by itself")

// errAbandoned is the error of await for an abandoned run.
var errAbandoned = errors.New("run abandoned")

// await is r.wait for a reader: the run is not abandoned meanwhile. If the read times
// out, the error includes the error of the latest try.
func (l *Layer) await(ctx context.Context, r *run, n int) error {
	if !r.addReader() {
		return errAbandoned
	}
	defer r.removeReader()
	err := r.wait(ctx, n)
	if !errors.Is(err, ErrTimeout) {
		return err
	}
	last := r.lastFailure()
	if last == nil { // the first try has not ended
		last = l.sources.failure()
	}
	if last == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, last)
}

// addReader adds a waiting reader. It returns false if the run was abandoned.
func (r *run) addReader() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.abandoned {
		return false
	}
	r.mu.readers++
	return true
}

// removeReader removes a waiting reader.
func (r *run) removeReader() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.readers--
}

// abandon records the error of a try. If no reader waits, it abandons the run and returns
// true.
func (r *run) abandon(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.last = err
	r.mu.abandoned = r.mu.readers == 0
	return r.mu.abandoned
}

// isAbandoned reports whether the run was abandoned: a reader must start another one.
func (r *run) isAbandoned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.abandoned
}

// lastFailure returns the error of the latest failed try; nil if none has failed.
func (r *run) lastFailure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.last
}
