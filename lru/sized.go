package lru

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Sized is a cache whose values take a bounded number of bytes together. All are
// dropped when none was added for its lifetime. It may be used concurrently.
type Sized[K comparable, V any] struct {
	most     int64 // bytes
	lifetime time.Duration
	purge    *time.Timer
	mu       struct {
		sync.Mutex
		values *simplelru.LRU[K, sized[V]]
		bytes  int64 // of all values
	}
}

type sized[V any] struct {
	value V
	bytes int64
}

// NewSized returns a cache for most bytes. The caller calls Stop when it is done
// with it.
func NewSized[K comparable, V any](most int64, lifetime time.Duration) *Sized[K, V] {
	s := &Sized[K, V]{most: most, lifetime: lifetime}
	// Not the number of values is bounded, but their bytes.
	s.mu.values = must(simplelru.NewLRU(math.MaxInt, func(_ K, v sized[V]) { s.mu.bytes -= v.bytes }))
	s.purge = time.AfterFunc(lifetime, s.Purge)
	return s
}

// Add puts a value of bytes bytes in the place of the one that key has, if any. The
// value that was added last stays, however large.
func (s *Sized[K, V]) Add(key K, value V, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.values.Remove(key)
	s.mu.values.Add(key, sized[V]{value, bytes})
	s.mu.bytes += bytes
	for s.mu.bytes > s.most && s.mu.values.Len() > 1 {
		s.mu.values.RemoveOldest()
	}
	s.purge.Reset(s.lifetime)
}

// Get returns the value of key, which counts as used then.
func (s *Sized[K, V]) Get(key K) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.mu.values.Get(key)
	return v.value, ok
}

// Has reports whether key has a value. It does not count as used.
func (s *Sized[K, V]) Has(key K) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.values.Contains(key)
}

// Bytes returns how many bytes the values have together.
func (s *Sized[K, V]) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.bytes
}

// Purge drops all values.
func (s *Sized[K, V]) Purge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.values.Purge()
}

// Stop ends the timer that drops values. Those that are there stay.
func (s *Sized[K, V]) Stop() { s.purge.Stop() }
