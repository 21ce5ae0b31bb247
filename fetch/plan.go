package fetch

import (
	"context"
	"errors"
	"time"
)

// refund is the number of bytes that a host must have sent since its last failure for its
// retries to be reset. A host that has sent so many, or a whole answer, counts as
// working.
const refund = 256 << 10

// plan is the list of hosts to try for one object, with the retries of each. After a
// failure the next host in the list that pace admits is tried; if pace admits none, the
// one that is admitted first. A host is dropped when it has failed more than MaxRetries
// times, including failures of concurrent plans, or at once if its refusal is definite
// (404, 401, 403); after another refusal it is tried once more.
//
// It must be used by one goroutine.
type plan struct {
	opts       Options
	now        func() time.Time
	candidates []candidate // the first one is the current one
	began      time.Time   // of the current attempt
	failed     hostErrors  // of the dropped hosts
	last       error       // the latest failure
	// exhausted is called when all hosts are dropped; may be nil.
	exhausted func()
}

// candidate is a host of a plan.
type candidate struct {
	host    *host
	failed  time.Time // last refusal of the object, or failure, before this plan
	asked   bool      // tried by this plan
	refused bool      // refused the object, in this plan or recently
	retries int       // failures that count against MaxRetries
	seq     int       // of the host's trouble: the latest failure in retries
}

// newCandidate returns the candidate of a host that refused the object at the given time;
// zero: it did not. Recent failures of the host count as retries.
func (p *plan) newCandidate(h *host, refused time.Time) candidate {
	r := h.trouble.failed(p.now())
	t := candidate{host: h, failed: refused, refused: !refused.IsZero(), retries: min(r.failures, p.opts.MaxRetries), seq: r.seq}
	if r.failures > 0 && r.at.After(refused) {
		t.failed = r.at
	}
	return t
}

// host returns the current host.
func (p *plan) host() *host { return p.candidates[0].host }

// next waits until a host may be tried, makes it the current one and returns it. If all
// hosts are dropped, it returns their errors; if ctx ends, its cause.
func (p *plan) next(ctx context.Context) (*host, error) {
	for len(p.candidates) > 0 {
		if ctx.Err() != nil {
			return nil, stopped(ctx, p.last)
		}
		i, w := p.soonest()
		switch {
		case i < 0: // a host was dropped
		case w.Duration == 0:
			p.toFront(i)
			p.candidates[0].asked = true
			p.began = p.now()
			return p.host(), nil
		case p.tooLong(ctx, w.Duration):
			p.toFront(i)
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

// soonest returns the first candidate that may be tried now, or the one that may be tried
// first, with its wait. best is negative if a host was dropped.
func (p *plan) soonest() (best int, least wait) {
	best = -1
	for i := range p.candidates {
		w := p.candidates[i].admit(p.now(), p.opts)
		if w.Duration > 0 && p.candidates[i].countOthers(w) > p.opts.MaxRetries {
			p.toFront(i)
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

// admit asks to try the host now: see pace.admit.
func (t *candidate) admit(now time.Time, o Options) wait {
	w := t.host.trouble.admit(!t.asked, now, o)
	if w.Duration == 0 && t.refused {
		r := t.host.refusals.admit(false, now, o)
		w.Duration, w.changed = r.Duration, r.changed
		if w.last == nil {
			w.last = r.last
		}
	}
	return w
}

// countOthers adds the failures of concurrent plans to retries, and returns retries.
func (t *candidate) countOthers(w wait) int {
	t.retries += min(w.seq-t.seq, w.failures)
	t.seq = w.seq
	return t.retries
}

// toFront makes the i-th candidate the current one.
func (p *plan) toFront(i int) {
	t := p.candidates[i]
	copy(p.candidates[1:i+1], p.candidates[:i])
	p.candidates[0] = t
}

// tooLong reports whether waiting for d is pointless: d exceeds MaxWait and, if ctx has a
// deadline, ends after it.
func (p *plan) tooLong(ctx context.Context, d time.Duration) bool {
	end, ok := ctx.Deadline()
	return d > p.opts.MaxWait && (!ok || p.now().Add(d).After(end))
}

// success records that the current host sent the requested bytes.
func (p *plan) success() {
	p.candidates[0].retries = 0
	p.host().trouble.succeeded()
	p.host().refusals.succeeded()
}

// failure records the error of the attempt at the current host.
func (p *plan) failure(err error) {
	p.last = err
	e := errorOf(err)
	t := &p.candidates[0]
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
	p.candidates = append(p.candidates[1:], *t) // the others are tried first
}

// drop removes the current host from the plan; err is the host's error.
func (p *plan) drop(err error) {
	p.last = err
	p.failed = append(p.failed, err)
	p.candidates = p.candidates[1:]
}

// errorOf returns the *Error in err, or a final one for an unknown error.
func errorOf(err error) *Error {
	e := &Error{Kind: ErrUnavailable, Cause: err, final: true}
	errors.As(err, &e)
	return e
}

// pause waits for w, until the pace changes, or until ctx ends.
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
