package layer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ladle-dev/ladle/store"
)

// fetch makes the chunks of r present. As long as a reader waits for one of them
// it tries again, whatever the registry answered: the next answer may be better,
// and how long a reader waits is bounded. What nobody waits for is tried at each
// source once, with the few retries of package fetch.
func (l *Layer) fetch(r *run) error {
	for tries := 0; ; tries++ {
		at := r.at()
		err := l.fetchOnce(r)
		if err == nil || l.ctx.Err() != nil || !mayPass(err) || r.giveUp(err) {
			return err
		}
		if r.at() > at {
			tries = 0
		}
		select {
		case <-time.After(l.set.fetch.Backoff(tries)):
		case <-l.ctx.Done():
			return err
		}
		r.again = true
	}
}

// fetchOnce tries each source, and if it may not be read, each image that has
// the blob and may be.
func (l *Layer) fetchOnce(r *run) error {
	err := l.fetchFrom(l.sources.blobs(), r)
	if err != nil {
		err = l.fetchElsewhere(r, err)
	}
	return err
}

// mayPass reports whether what a run ended with is up to the registry.
func mayPass(err error) bool {
	return !errors.Is(err, errNoRoom) && !errors.Is(err, errNoSource) && !errors.Is(err, store.ErrLost)
}

// errGivenUp is what await returns for a run that was given up before.
var errGivenUp = errors.New("the run was given up")

// await is r.wait for a reader: the run is not given up meanwhile. If the
// reader's time is over it returns what the latest try came to, too.
func (l *Layer) await(ctx context.Context, r *run, n int) error {
	if !r.enter() {
		return errGivenUp
	}
	defer r.leave()
	err := r.wait(ctx, n)
	if !errors.Is(err, ErrTimeout) {
		return err
	}
	last := r.lastFailure()
	if last == nil { // the first try is under way
		last = l.sources.failure()
	}
	if last == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, last)
}

// enter adds a reader that waits. It returns false if the run was given up.
func (r *run) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.givenUp {
		return false
	}
	r.mu.readers++
	return true
}

// leave takes a reader away.
func (r *run) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.readers--
}

// giveUp notes what a try came to. It gives the run up, and returns true, if no
// reader waits.
func (r *run) giveUp(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.last = err
	r.mu.givenUp = r.mu.readers == 0
	return r.mu.givenUp
}

// givenUp reports whether the run was given up, so that readers start another.
func (r *run) givenUp() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.givenUp
}

// lastFailure returns what the latest try came to; nil if none has failed.
func (r *run) lastFailure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.last
}
