package layer

import (
	"context"
	"sync"
	"sync/atomic"
)

// run is one request for a span of chunks. Its parts are unpacked side by side,
// so that chunks become present in order only within a part.
type run struct {
	span
	asked span // what a reader asked for; it is empty if none did
	// unwanted ends when a reader waits for the run, or it is of no more use.
	unwanted context.Context
	want     context.CancelFunc // ends unwanted
	inMemory atomic.Int64       // bytes that are not on disk
	waiters  atomic.Int64       // calls of wait that have not returned
	again    bool               // all sources were tried before; of the goroutine that fetches
	mu       struct {
		sync.Mutex
		present []bool        // of the chunks of span
		ready   int           // chunks [first, ready) are present
		err     error         // why the run ended early
		ended   bool          // no more chunks come
		changed chan struct{} // closed when any of the above changes; nil if nobody waits
		readers int           // that wait
		last    error         // what the latest try came to that failed
		givenUp bool          // there was no reader after a failure: no other one follows
	}
}

// newRun returns the run for the chunks of s, which ends with ctx. A reader asked for
// the chunks of asked.
func newRun(ctx context.Context, s, asked span) *run {
	r := &run{span: s, asked: asked}
	r.unwanted, r.want = context.WithCancel(ctx)
	r.mu.present = make([]bool, s.end-s.first)
	r.mu.ready = s.first
	return r
}

// wait returns when the n-th chunk, one of the run's, is present or will not be.
func (r *run) wait(ctx context.Context, n int) error {
	r.waiters.Add(1)
	defer r.waiters.Add(-1)
	for {
		changed, err := r.look(n)
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

// look returns nil if the n-th chunk is present, the error if it will not be,
// or what is closed when there is news.
func (r *run) look(n int) (changed <-chan struct{}, err error) {
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

// changedLocked wakes those who wait.
func (r *run) changedLocked() {
	if r.mu.changed != nil {
		close(r.mu.changed)
		r.mu.changed = nil
	}
}

// done says that the n-th chunk is present.
func (r *run) done(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.present[n-r.first] = true
	for r.mu.ready < r.end && r.mu.present[r.mu.ready-r.first] {
		r.mu.ready++
	}
	r.changedLocked()
}

// finish says that no more chunks come, err telling why if some are missing.
func (r *run) finish(err error) {
	r.want() // gives back what unwanted takes
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.ended, r.mu.err = true, err
	r.changedLocked()
}

// at returns the first chunk that is not present yet.
func (r *run) at() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.ready
}
