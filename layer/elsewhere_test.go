package layer_test

import (
	"bytes"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// If the image of a layer may not be read any more, the layer is read from another image
// that has it, by the next process, too. Images are not asked for as long as the first
// one can be read.
func TestAnotherImage(t *testing.T) {
	t.Parallel() // it waits for read timeouts
	b := newBench(t, registrytest.Options{}, someFiles(20, 10))
	b.stop(t)
	other := registrytest.New(t, registrytest.Options{})
	other.AddBlob(b.blob)
	elsewhere := other.Ref("other:1")
	// A run may ask on for a while when the time of its reader is over.
	var found atomic.Pointer[[]string]
	found.Store(new([]string))
	var asked atomic.Int64
	opts := layer.Options{
		NoFill: true, NoPrefetch: true, ReadTimeout: 5 * time.Second,
		Lenders: lenders{images: func(known []string, blob digest.Digest) []string {
			asked.Add(1)
			if !slices.Equal(known, []string{b.req.Source.Ref}) || blob != b.req.Source.Digest {
				t.Errorf("asked for %v, %s", known, blob)
			}
			return *found.Load()
		}},
	}
	b.start(t, opts, store.Options{})
	l := b.open(t)
	large := b.files[len(b.files)-1].data
	at := extents(t, l)["large"]
	read := func(off int64) error {
		p := make([]byte, 8192)
		_, err := l.ReadAt(t.Context(), p, at+off)
		if err == nil && !bytes.Equal(p, large[off:][:len(p)]) {
			t.Errorf("wrong bytes at %d", off)
		}
		return err
	}
	const step = 1 << 20 // farther than is read ahead
	if err := read(0); err != nil || asked.Load() != 0 {
		t.Fatalf("%v, asked %d times", err, asked.Load())
	}
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 503}))
	if err := read(step); !errors.Is(err, fetch.ErrUnavailable) || asked.Load() != 0 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Status: 401}))
	if err := read(step); !errors.Is(err, fetch.ErrUnauthorized) || asked.Load() == 0 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
	found.Store(&[]string{b.req.Source.Ref, elsewhere})
	if err := read(step); err != nil {
		t.Error(err)
	}
	b.stop(t)
	asked.Store(0)
	b.start(t, opts, store.Options{})
	l = b.open(t)
	if err := read(2 * step); err != nil || asked.Load() != 0 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}
