package layer

import (
	"context"
	"sync"
)

// run is one request for a span of chunks. Chunks become present in order.
type run struct {
	span
	inMemory int64 // bytes that the disk did not take; of the run's goroutine
	mu       struct {
		sync.Mutex
		ready   int           // chunks [first, ready) are present
		err     error         // why the run ended early
		ended   bool          // no more chunks come
		changed chan struct{} // closed when any of the above changes
	}
}

func newRun(s span) *run {
	r := &run{span: s}
	r.mu.ready = s.first
	r.mu.changed = make(chan struct{})
	return r
}

// wait returns when the n-th chunk, one of the run's, is present or will not be.
func (r *run) wait(ctx context.Context, n int) error {
	for {
		r.mu.Lock()
		ready, ended, err, changed := r.mu.ready, r.mu.ended, r.mu.err, r.mu.changed
		r.mu.Unlock()
		switch {
		case n < ready:
			return nil
		case ended:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// advance says that the chunks before n are present.
func (r *run) advance(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.ready = n
	close(r.mu.changed)
	r.mu.changed = make(chan struct{})
}

// finish says that no more chunks come, err telling why if some are missing.
func (r *run) finish(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.ended, r.mu.err = true, err
	close(r.mu.changed)
	r.mu.changed = nil
}

// at returns the first chunk that is not present yet.
func (r *run) at() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.ready
}
