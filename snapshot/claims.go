package snapshot

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/store"
)

// Claims count the uses of each layer by all endpoints of a daemon. NewClaims makes one.
//
// A Prepare claims the blob before it opens the layer, and the layer before it ends. A
// collection finds out of each layer whether it is claimed. One that is not is condemned
// until the collection ends, and a Prepare of its blob waits until then. So no layer is
// dropped between being found by a Prepare and being claimed.
type Claims struct {
	turn chan struct{} // full during a collection

	mu struct {
		sync.Mutex
		// layers counts claims; blobs counts Prepares that are opening a layer.
		//
		// INVARIANT: no count is zero, and no blob is in blobs and condemned.
		layers map[store.ID]int
		blobs  map[digest.Digest]int
		// condemned are blobs of layers that are being dropped; ended is closed
		// when there are none any more.
		condemned map[digest.Digest]bool
		ended     chan struct{}
	}
}

// NewClaims returns Claims without any.
func NewClaims() *Claims {
	c := &Claims{turn: make(chan struct{}, 1)}
	c.mu.layers = map[store.ID]int{}
	c.mu.blobs = map[digest.Digest]int{}
	c.mu.condemned = map[digest.Digest]bool{}
	c.mu.ended = make(chan struct{})
	return c
}

// Collect calls drop, which may drop every layer for which claimed returned
// false, before it returns. There is one collection at a time.
func (c *Claims) Collect(ctx context.Context, drop func(ctx context.Context, claimed func(store.ID) bool) error) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turn }()
	defer c.pardon()
	return drop(ctx, func(id store.ID) bool { return !c.condemn(id) })
}

// condemn condemns a layer unless it is claimed.
func (c *Claims) condemn(id store.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.layers[id] > 0 || c.mu.blobs[id.Blob] > 0 {
		return false
	}
	c.mu.condemned[id.Blob] = true
	return true
}

func (c *Claims) pardon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.mu.condemned)
	close(c.mu.ended)
	c.mu.ended = make(chan struct{})
}

// open claims all layers of a blob until done is called.
func (c *Claims) open(ctx context.Context, blob digest.Digest) (done func(), err error) {
	for {
		ended := c.tryOpen(blob)
		if ended == nil {
			return func() { c.close(blob) }, nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryOpen claims a blob, or returns what to wait for if it is condemned.
func (c *Claims) tryOpen(blob digest.Digest) (ended <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.condemned[blob] {
		return c.mu.ended
	}
	c.mu.blobs[blob]++
	return nil
}

func (c *Claims) close(blob digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	discount(c.mu.blobs, blob)
}

// Claim adds a claim of a layer, and Unclaim removes one.
func (c *Claims) Claim(id store.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.layers[id]++
}

// Unclaim removes a claim of a layer.
func (c *Claims) Unclaim(id store.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	discount(c.mu.layers, id)
}

func discount[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}
