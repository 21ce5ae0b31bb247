package layer_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// lenders are Lenders that call functions.
type lenders struct {
	offer  func(ref, socket string)
	images func(known []string, blob digest.Digest) []string
}

func (l lenders) Offer(ref, socket string) { l.offer(ref, socket) }

func (l lenders) Images(_ context.Context, known []string, blob digest.Digest) []string {
	return l.images(known, blob)
}

// TestOfferCountsAtOnce reads from a registry, and again after an offer of a lender,
// which names another host for it: the next bytes come from there.
func TestOfferCountsAtOnce(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(20, 10))
	b.stop(t)
	other := registrytest.New(t, registrytest.Options{})
	other.AddBlob(b.blob)
	var lent atomic.Bool
	hosts := fetch.Hosts(t.Context(), fetch.HostsOptions{
		Lent: func(context.Context, string, string) ([]auth.Host, error) {
			if !lent.Load() {
				return nil, nil
			}
			return []auth.Host{{URL: "http://" + other.Host() + "/v2"}}, nil
		},
	})
	offers := lenders{offer: func(ref, socket string) {
		if ref != b.req.Source.Ref || socket != "/socket" {
			t.Errorf("offered for %s at %s", ref, socket)
		}
		lent.Store(true)
	}}
	b.startWith(t, fetch.New(hosts, steady),
		layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: patient, Lenders: offers}, store.Options{})
	l := b.open(t)
	at := extents(t, l)["large"]
	read := func(off int64) {
		t.Helper()
		if _, err := l.ReadAt(t.Context(), make([]byte, 8192), at+off); err != nil {
			t.Error(err)
		}
	}
	read(0)
	before := b.Count(registrytest.Blob)
	b.set.Offer(b.req.Source.Ref, "/socket")
	read(1 << 20) // farther than is read ahead
	if n := b.Count(registrytest.Blob) - before; n != 0 || other.Count(registrytest.Blob) == 0 {
		t.Errorf("%d requests to the registry, and %d to where it is said to be", n, other.Count(registrytest.Blob))
	}
}

// TestOfferWithoutLenders makes an offer to a set for which nothing is lent.
func TestOfferWithoutLenders(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(2, 10))
	b.set.Offer(b.req.Source.Ref, "/socket")
	b.open(t)
}
