package fetch

import (
	"context"
	"errors"
	"time"
)

// refund is how many bytes must have come from a host since its last failure
// for its retries to count from zero again. A host that sent so many, or the
// whole of an answer, is well.
const refund = 256 << 10

// plan is which hosts remain to be asked for one object, and how often. After
// each failure the next host is asked that may be asked now, in their order; if
// none may, the first that may. A host is out when it has failed MaxRetries
// times more than once, failures of others' tries at it included, or when what
// it said is definite (404, 401, 403); any other refusal it may repeat once.
//
// It belongs to one goroutine.
type plan struct {
	opts   Options
	now    func() time.Time
	turns  []turn     // the first one is in turn
	began  time.Time  // the attempt under way
	failed hostErrors // of the hosts that are out
	last   error      // the latest failure
	// exhausted is called when no host is left to be asked. Nil: nothing.
	exhausted func()
}

type turn struct {
	host    *host
	failed  time.Time // when it refused the object, or failed, before this plan
	asked   bool      // by this plan
	refused bool      // it has refused the object, by this plan or lately
	retries int       // that are used up
	seq     int       // the latest failure of the host's trouble that is among these
}

// newTurn returns the turn of a host that refused the object then, if that is
// not zero. What it failed lately counts.
func (p *plan) newTurn(h *host, refused time.Time) turn {
	r := h.trouble.failed(p.now())
	t := turn{host: h, failed: refused, refused: !refused.IsZero(), retries: min(r.failures, p.opts.MaxRetries), seq: r.seq}
	if r.failures > 0 && r.at.After(refused) {
		t.failed = r.at
	}
	return t
}

// host returns the one in turn.
func (p *plan) host() *host { return p.turns[0].host }

// next waits until a host may be asked and returns it: it is in turn then. It
// returns an error if there is none: what every host came to, or why ctx ended.
func (p *plan) next(ctx context.Context) (*host, error) {
	for len(p.turns) > 0 {
		if ctx.Err() != nil {
			return nil, stopped(ctx, p.last)
		}
		i, w := p.soonest()
		switch {
		case i < 0: // some are out now
		case w.Duration == 0:
			p.turn(i)
			p.turns[0].asked = true
			p.began = p.now()
			return p.host(), nil
		case p.tooLong(ctx, w.Duration):
			p.turn(i)
			p.drop(w.last)
		default:
			if err := p.pause(ctx, w); err != nil {
				return nil, err
			}
		}
	}
	if p.exhausted != nil {
		p.exhausted()
	}
	if len(p.failed) == 1 {
		return nil, p.failed[0]
	}
	return nil, p.failed
}

// soonest returns the first host that may be asked now, or the one that may be
// asked first of all, and how long that takes. It is negative if a host is out.
func (p *plan) soonest() (best int, least wait) {
	best = -1
	for i := range p.turns {
		w := p.turns[i].take(p.now(), p.opts)
		if w.Duration > 0 && p.turns[i].share(w) > p.opts.MaxRetries {
			p.turn(i)
			p.drop(w.last)
			return -1, wait{}
		}
		if w.Duration == 0 {
			return i, w
		}
		if best < 0 || w.Duration < least.Duration {
			best, least = i, w
		}
	}
	return best, least
}

// take asks for a try at the host.
func (t *turn) take(now time.Time, o Options) wait {
	w := t.host.trouble.take(!t.asked, now, o)
	if w.Duration == 0 && t.refused {
		r := t.host.refusals.take(false, now, o)
		w.Duration, w.changed = r.Duration, r.changed
		if w.last == nil {
			w.last = r.last
		}
	}
	return w
}

// share counts the failures of others' tries as retries and returns how many
// are used up.
func (t *turn) share(w wait) int {
	t.retries += min(w.seq-t.seq, w.failures)
	t.seq = w.seq
	return t.retries
}

// turn gives the turn to the i-th host.
func (p *plan) turn(i int) {
	t := p.turns[i]
	copy(p.turns[1:i+1], p.turns[:i])
	p.turns[0] = t
}

// tooLong reports whether it is no use to wait for d: the host wants to be left
// alone until ctx has ended, or for longer than a retry may take if ctx does not
// say when it ends.
func (p *plan) tooLong(ctx context.Context, d time.Duration) bool {
	end, ok := ctx.Deadline()
	return d > p.opts.MaxWait && (!ok || p.now().Add(d).After(end))
}

// success says that the host in turn sent what was promised.
func (p *plan) success() {
	p.turns[0].retries = 0
	p.host().trouble.well()
	p.host().refusals.well()
}

// failure says what the attempt at the host in turn came to.
func (p *plan) failure(err error) {
	p.last = err
	e := errorOf(err)
	t := &p.turns[0]
	if e.final {
		t.host.refusals.fail(e, p.began, p.now(), p.opts)
	} else {
		t.seq = t.host.trouble.fail(e, p.began, p.now(), p.opts)
	}
	t.retries++
	if t.retries > p.opts.MaxRetries || e.final && (t.refused || e.definite()) {
		p.drop(err)
		return
	}
	t.refused = t.refused || e.final
	p.turns = append(p.turns[1:], *t) // the others are asked first
}

// drop ends the attempts at the host in turn, which came to err.
func (p *plan) drop(err error) {
	p.last = err
	p.failed = append(p.failed, err)
	p.turns = p.turns[1:]
}

// errorOf returns the request that err is of, or an unknown final failure.
func errorOf(err error) *Error {
	e := &Error{Kind: ErrUnavailable, Cause: err, final: true}
	errors.As(err, &e)
	return e
}

// pause waits for w, until there is news, or until ctx ends.
func (p *plan) pause(ctx context.Context, w wait) error {
	t := time.NewTimer(w.Duration)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return stopped(ctx, p.last)
	case <-t.C:
	case <-w.changed:
	}
	return nil
}
