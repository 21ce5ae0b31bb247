package lru

import (
	concurrent "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Cache is a cache of a bounded number of entries, for callers with a lock of their
// own.
type Cache[K comparable, V any] = simplelru.LRU[K, V]

// Concurrent is a cache of a bounded number of entries that may be used concurrently.
type Concurrent[K comparable, V any] = concurrent.Cache[K, V]

// New returns a cache of at most most entries, which is positive.
func New[K comparable, V any](most int) *Cache[K, V] {
	return must(simplelru.NewLRU[K, V](most, nil))
}

// NewConcurrent returns a cache of at most most entries, which is positive.
func NewConcurrent[K comparable, V any](most int) *Concurrent[K, V] {
	return must(concurrent.New[K, V](most))
}

// must returns cache: the only error is that of a size that is not positive.
func must[C any](cache C, err error) C {
	if err != nil {
		panic(err)
	}
	return cache
}
