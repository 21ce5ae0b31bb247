package layer

import (
	"context"
	"sync"
	"sync/atomic"
)

// run is one request for a span of chunks. Its parts are decompressed concurrently, so
// that chunks become present in order only within a part.
type run struct {
	span
	requested span // chunks that a reader requested; empty: none did
	// speculative ends when a reader waits for the run, and with the run.
	speculative context.Context
	prioritize  context.CancelFunc // ends speculative
	inMemory    atomic.Int64       // bytes that are not on disk
	retried     bool               // all sources were tried before; of the fetching goroutine
	mu          struct {
		sync.Mutex
		present   []bool        // of the chunks of span
		ready     int           // chunks [first, ready) are present
		err       error         // of the end of the run
		ended     bool          // no more chunks become present
		changed   chan struct{} // closed when any of the above changes; nil: no caller waits
		readers   int           // number of waiting readers
		last      error         // of the latest failed try
		abandoned bool          // ends after a failure without a waiting reader
	}
}

// newRun returns the run for the chunks of s, with the lifetime of ctx. A reader
// requested the chunks of requested.
func newRun(ctx context.Context, s, requested span) *run {
	r := &run{span: s, requested: requested}
	r.speculative, r.prioritize = context.WithCancel(ctx)
	r.mu.present = make([]bool, s.end-s.first)
	r.mu.ready = s.first
	return r
}

// wait waits until the n-th chunk, one of the run's, is present or the run has ended.
func (r *run) wait(ctx context.Context, n int) error {
	for {
		changed, err := r.poll(n)
		if changed == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// poll returns nil if the n-th chunk is present, the error if the run has ended, or else
// a channel that is closed when that changes.
func (r *run) poll(n int) (changed <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.mu.present[n-r.first]:
		return nil, nil
	case r.mu.ended:
		return nil, r.mu.err
	case r.mu.changed == nil:
		r.mu.changed = make(chan struct{})
	}
	return r.mu.changed, nil
}

// changedLocked wakes all waiting callers.
func (r *run) changedLocked() {
	if r.mu.changed != nil {
		close(r.mu.changed)
		r.mu.changed = nil
	}
}

// markPresent records that the n-th chunk is present.
func (r *run) markPresent(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.present[n-r.first] = true
	for r.mu.ready < r.end && r.mu.present[r.mu.ready-r.first] {
		r.mu.ready++
	}
	r.changedLocked()
}

// finish ends the run; err is nil if all chunks are present.
func (r *run) finish(err error) {
	r.prioritize() // frees speculative
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.ended, r.mu.err = true, err
	r.changedLocked()
}

// head returns the first chunk that is not present yet.
func (r *run) head() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.ready
}
