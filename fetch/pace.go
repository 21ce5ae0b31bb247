package fetch

import (
	"sync"
	"time"
)

// troubleFor is how long after its last failure a host counts as failing: it is
// asked after all others.
const troubleFor = 30 * time.Second

// pace says when something that failed is tried again. All who want to try it
// share it: after n failures in a row there is one try in each backoff(n-1),
// whoever makes it, so that many readers of a sick host send it no more
// requests than one. A success lets all of them go on at once.
//
// The zero value is of something that has not failed.
type pace struct {
	mu struct {
		sync.Mutex
		record
		next    time.Time     // when the next try is due
		wished  bool          // the host itself named that time
		changed chan struct{} // closed when any of the above changes; nil if nobody waits
	}
}

// record is what failed so far.
type record struct {
	failures int       // in a row; those of tries made side by side are one
	seq      int       // counts failures for ever
	last     *Error    // the latest failure; nil if there is none in the row
	at       time.Time // when that was
}

// wait is when a try is due, and what failed so far.
type wait struct {
	time.Duration // until the try is due; zero: now
	record
	changed chan struct{} // closed when there is news
}

// take asks for a try. It is the caller's if the wait is zero. first says that
// it is the caller's first: that waits only if the host asked to be left alone,
// or if it failed more than once and would fail whatever it is asked for.
func (p *pace) take(first bool, now time.Time, o Options) wait {
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

// fail says that a try that began then came to e. It returns the failure's
// number.
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

// well says that a try succeeded.
func (p *pace) well() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.failures > 0 {
		p.resetLocked()
	}
}

// failed returns what failed lately.
func (p *pace) failed(now time.Time) record {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ageLocked(now)
	return p.mu.record
}

// ageLocked forgets failures that are long ago.
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
