package layer

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// slots bound the imports that are in progress at the same time. Imports that an Open waits
// for are first.
type slots struct {
	mu struct {
		sync.Mutex
		free  int
		queue []*queued // in the order in which they came; empty if some are free
	}
}

// queued is an import that waits for a slot.
type queued struct {
	i       *importing
	granted chan struct{} // closed when it has one
}

func newSlots(n int) *slots {
	s := &slots{}
	s.mu.free = n
	if n <= 0 {
		s.mu.free = runtime.GOMAXPROCS(0)
	}
	return s
}

// acquire waits for a slot until the context of i ends.
func (s *slots) acquire(i *importing) error {
	s.mu.Lock()
	if s.mu.free > 0 {
		s.mu.free--
		s.mu.Unlock()
		return nil
	}
	q := &queued{i, make(chan struct{})}
	s.mu.queue = append(s.mu.queue, q)
	s.mu.Unlock()
	select {
	case <-q.granted:
		return nil
	case <-i.ctx.Done():
	}
	s.mu.Lock()
	at := slices.Index(s.mu.queue, q)
	if at >= 0 {
		s.mu.queue = slices.Delete(s.mu.queue, at, at+1)
	}
	s.mu.Unlock()
	if at < 0 {
		s.release() // it was granted meanwhile
	}
	return context.Cause(i.ctx)
}

// release gives a slot to the next import.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.queue) == 0 {
		s.mu.free++
		return
	}
	next := max(0, slices.IndexFunc(s.mu.queue, func(q *queued) bool { return q.i.waiters.Load() > 0 }))
	close(s.mu.queue[next].granted)
	s.mu.queue = slices.Delete(s.mu.queue, next, next+1)
}
