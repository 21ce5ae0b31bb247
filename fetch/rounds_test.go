package fetch

import (
	"context"
	"sync"
	"testing"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// gate lets requests of a kind and generation pass when count of them have
// come.
type gate struct {
	count int
	mu    struct {
		sync.Mutex
		waiting map[gateKey]*round
	}
}

type gateKey struct {
	kind       registrytest.Kind
	generation int
}

type round struct {
	come int
	open chan struct{}
}

func (g *gate) pass(ctx context.Context, q registrytest.Request) {
	key := gateKey{q.Kind, q.Generation}
	g.mu.Lock()
	r := g.mu.waiting[key]
	if r == nil {
		r = &round{open: make(chan struct{})}
		g.mu.waiting[key] = r
	}
	r.come++
	if r.come == g.count {
		close(r.open)
	}
	g.mu.Unlock()
	select {
	case <-r.open:
	case <-ctx.Done():
	}
}

// TestSerialRoundTrips: to open forty blobs takes as many round trips one
// after the other as to open one: a challenge, a token, a redirection, the
// bytes. Each of these but the token is answered only when all forty have
// asked, so that a client that could wait for nothing else would hang; and no
// request depends on more answers than there are steps.
func TestSerialRoundTrips(t *testing.T) {
	for _, count := range []int{1, 10, 40} {
		r := registrytest.New(t, registrytest.Options{Token: true, Redirect: true})
		ctx := within(t)
		g := &gate{count: count}
		g.mu.waiting = map[gateKey]*round{}
		r.SetFault(func(q registrytest.Request) registrytest.Fault {
			if q.Kind != registrytest.Token {
				g.pass(ctx, q)
			}
			return registrytest.Fault{}
		})
		c := client(t)
		data := random(100 << 10)
		var all sync.WaitGroup
		for i := range count {
			b := blobOf(c, r, data[i:])
			all.Go(func() {
				if _, size, err := b.Tail(ctx, 50<<10); err != nil || size != int64(len(data)-i) {
					t.Errorf("blob %d of %d: size %d, %v", i, count, size, err)
				}
			})
		}
		all.Wait()
		if n := r.Generations(); n != 4 {
			t.Errorf("%d blobs: %d serial round trips, want 4", count, n)
		}
		if n := r.Count(registrytest.Token); n != 1 {
			t.Errorf("%d blobs: %d tokens were fetched, want 1", count, n)
		}
		if n := r.Count(); n != 3*count+1 {
			t.Errorf("%d blobs: %d requests, want %d", count, n, 3*count+1)
		}
		connections := map[string]bool{}
		for _, q := range r.Log() {
			connections[string(q.Kind)[:1]+q.Remote] = true
		}
		if n := len(connections); n > 3*count+1 {
			t.Errorf("%d blobs: %d connections", count, n)
		}

		// A second image of the same repository: the token is there.
		r.Reset()
		g.mu.waiting = map[gateKey]*round{}
		for i := range count {
			b := blobOf(c, r, data[1000+i:])
			all.Go(func() {
				if _, _, err := b.Tail(ctx, 50<<10); err != nil {
					t.Errorf("blob %d of %d: %v", i, count, err)
				}
			})
		}
		all.Wait()
		if n := r.Count(); n != 2*count {
			t.Errorf("%d more blobs: %d requests, want %d", count, n, 2*count)
		}
	}
}
