package fetch

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// refund is how many bytes must have come from a host since its last failure
// for its retries to count from zero again.
const refund = 256 << 10

// plan is which hosts remain to be asked for one object, and how often. The
// host in turn is asked until it succeeds, fails for good, or has failed once
// and MaxRetries times more; then it is the next one's turn, until there are
// none. A host that does not answer at all, or wants to be left alone for
// long, gives its turn to the next one that is not known to be down, and gets
// it back when that one has failed.
//
// It belongs to one goroutine.
type plan struct {
	opts   Options
	now    func() time.Time
	turns  []turn     // the first one is in turn
	failed hostErrors // of the hosts that are done with
	last   error      // the latest failure
	// exhausted is called when no host is left to be asked. Nil: nothing.
	exhausted func()
}

type turn struct {
	host    *host
	retries int // made so far
}

// host returns the one in turn. It must not be called after failure returned
// an error.
func (p *plan) host() *host { return p.turns[0].host }

// success says that the host in turn answered.
func (p *plan) success() { p.host().setDown(false, p.now()) }

// progress says that n bytes came since the last failure.
func (p *plan) progress(n int64) {
	if n >= refund {
		p.turns[0].retries = 0
	}
}

// failure says what the host in turn came to. It waits until the next attempt
// is due and returns nil, or an error if there is none: what every host came
// to, or why ctx ended.
func (p *plan) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return stopped(ctx, p.last)
	}
	p.last = err
	e := &Error{final: true}
	errors.As(err, &e)
	away := e.unanswered || e.retryAfter > p.opts.MaxWait
	if away {
		p.host().setDown(true, p.now())
	}
	if e.final || p.turns[0].retries >= p.opts.MaxRetries {
		return p.drop(err)
	}
	p.turns[0].retries++
	wait := min(e.retryAfter, p.opts.MaxWait)
	if away && p.rotate() {
		wait = 0
	}
	if n := p.turns[0].retries; n > 0 {
		wait = max(wait, p.opts.backoff(n-1))
	}
	return pause(ctx, wait, err)
}

// drop ends the attempts at the host in turn, which came to err.
func (p *plan) drop(err error) error {
	if errors.Is(err, ErrUnavailable) {
		p.host().setDown(true, p.now())
	}
	p.failed = append(p.failed, err)
	p.turns = p.turns[1:]
	if len(p.turns) > 0 {
		return nil
	}
	if p.exhausted != nil {
		p.exhausted()
	}
	if len(p.failed) == 1 {
		return p.failed[0]
	}
	return p.failed
}

// rotate gives the turn to the next host that is not down, if there is one.
func (p *plan) rotate() bool {
	for i, t := range p.turns {
		if i > 0 && !t.host.down(p.now()) {
			p.turns = append(append([]turn{t}, p.turns[1:i]...), append(p.turns[i+1:], p.turns[0])...)
			return true
		}
	}
	return false
}

// backoff returns how long to wait before the n-th retry, counted from 0: it
// doubles from MinWait to MaxWait, less up to a half so that many do not come
// back at once.
func (o Options) backoff(n int) time.Duration {
	wait := o.MaxWait
	if n < 32 && o.MinWait<<n > 0 {
		wait = min(wait, o.MinWait<<n)
	}
	return wait - time.Duration(rand.Float64()*float64(wait/2))
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration, last error) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return stopped(ctx, last)
	case <-t.C:
		return nil
	}
}
