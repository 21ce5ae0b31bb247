package store

import "sync"

// turns lets one goroutine at a time work on what a key names. The zero value
// is ready for use.
type turns struct {
	mu struct {
		sync.Mutex
		queues map[any]*queue // of the keys that somebody has or waits for
	}
}

type queue struct {
	sync.Mutex
	n int // how many have it or wait for it; guarded by turns.mu
}

// take waits for the turn at key. The caller calls done when it is over.
func (t *turns) take(key any) (done func()) {
	t.mu.Lock()
	if t.mu.queues == nil {
		t.mu.queues = map[any]*queue{}
	}
	q := t.mu.queues[key]
	if q == nil {
		q = &queue{}
		t.mu.queues[key] = q
	}
	q.n++
	t.mu.Unlock()

	q.Lock()
	return func() {
		q.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if q.n--; q.n == 0 {
			delete(t.mu.queues, key)
		}
	}
}
