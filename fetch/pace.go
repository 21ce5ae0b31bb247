package fetch

import (
	"sync"
	"time"
)

// troubleFor is how long after its last failure a host counts as failing: it is tried
// after all others.
const troubleFor = 30 * time.Second

// pace limits how often something that failed is tried again. All callers share it: after
// n failures in a row, one try is admitted in each backoff(n-1), so that many readers
// send a failing host no more requests than one reader. After a success all waiting
// callers are admitted.
//
// The zero value is without failures.
type pace struct {
	mu struct {
		sync.Mutex
		record
		next    time.Time     // when the next try is due
		wished  bool          // next was requested by the host (Retry-After)
		changed chan struct{} // closed when any of the above changes; nil: no caller waits
	}
}

// record is the failures so far.
type record struct {
	failures int       // in a row; failures of concurrent tries count as one
	seq      int       // failures in total; never reset
	last     *Error    // the latest failure in the row; nil: none
	at       time.Time // time of the first failure of the latest concurrent tries
}

// wait is the time until a try is admitted, and the failures so far.
type wait struct {
	time.Duration // until a try is admitted; zero: the caller may try now
	record
	changed chan struct{} // closed when the pace changes
}

// admit asks to try now. If the returned wait is zero, the caller is admitted. first says
// that the caller has not tried before: it has to wait only if the host sent Retry-After,
// or if the host failed more than once with an error that does not depend on the object.
func (p *pace) admit(first bool, now time.Time, o Options) wait {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ageLocked(now)
	w := wait{record: p.mu.record}
	if p.mu.failures == 0 || first && !p.mu.wished && (p.mu.failures < 2 || !p.mu.last.general()) {
		return w
	}
	if w.Duration = p.mu.next.Sub(now); w.Duration <= 0 {
		w.Duration = 0
		p.mu.next, p.mu.wished = now.Add(o.backoff(p.mu.failures-1)), false
		return w
	}
	if p.mu.changed == nil {
		p.mu.changed = make(chan struct{})
	}
	w.changed = p.mu.changed
	return w
}

// fail records that a try, which began at began, failed with e. It returns the number of
// the failure: record.seq.
func (p *pace) fail(e *Error, began, now time.Time, o Options) (seq int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ageLocked(now)
	p.mu.last = e
	if p.mu.failures == 0 || !began.Before(p.mu.at) {
		p.mu.failures++
		p.mu.seq++
		p.mu.at = now
	}
	due := now.Add(max(o.backoff(p.mu.failures-1), o.retryAfter(e.retryAfter)))
	if due.After(p.mu.next) {
		p.mu.next, p.mu.wished = due, e.retryAfter > 0
	}
	p.newsLocked()
	return p.mu.seq
}

// succeeded records that a try succeeded.
func (p *pace) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.failures > 0 {
		p.resetLocked()
	}
}

// failed returns the failures that still count.
func (p *pace) failed(now time.Time) record {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ageLocked(now)
	return p.mu.record
}

// ageLocked removes failures that are too old to count.
func (p *pace) ageLocked(now time.Time) {
	if p.mu.failures > 0 && now.Sub(p.mu.at) >= troubleFor && !now.Before(p.mu.next) {
		p.resetLocked()
	}
}

func (p *pace) resetLocked() {
	p.mu.failures, p.mu.wished, p.mu.last, p.mu.next = 0, false, nil, time.Time{}
	p.newsLocked()
}

func (p *pace) newsLocked() {
	if p.mu.changed != nil {
		close(p.mu.changed)
		p.mu.changed = nil
	}
}
