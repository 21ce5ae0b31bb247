package layer_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
)

// stalling returns a bench with an open layer of which no bytes ever arrive.
func stalling(t *testing.T, opts layer.Options) (*bench, *layer.Layer) {
	t.Helper()
	b := newBench(t, registrytest.Options{}, someFiles(70, 20))
	b.stop(t)
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Nth == 0 { // the index
			return registrytest.Fault{}
		}
		return registrytest.Fault{Stall: registrytest.After(1000)}
	})
	b.startPatient(t, opts)
	return b, b.open(t)
}

// When the set is closed, reads fail at once, and so do later calls that open layers.
func TestCloseDuringRuns(t *testing.T) {
	for name, opts := range map[string]layer.Options{
		"readers":  {NoFill: true},
		"prefetch": {NoFill: true, PrefetchSize: 1 << 20},
		"filler":   {FillDelay: time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			b, l := stalling(t, opts)
			waiting := make(chan error, 10)
			if name == "readers" {
				for i := range int64(cap(waiting)) {
					go func() {
						_, err := l.ReadAt(context.Background(), make([]byte, 100), i*100_000)
						waiting <- err
					}()
				}
			}
			waitFor(t, func() bool { return b.Count() >= 2 })
			if err := b.set.Close(); err != nil {
				t.Error(err)
			}
			for range cap(waiting) {
				if name != "readers" {
					break
				}
				if err := <-waiting; !errors.Is(err, context.Canceled) {
					t.Errorf("a reader got %v", err)
				}
			}
			if _, err := l.ReadAt(context.Background(), make([]byte, 1), 0); err == nil {
				t.Error("read after Close")
			}
			another := b.req
			another.Source.Digest = b.AddBlob([]byte("another"))
			if _, err := b.set.Open(t.Context(), another); err == nil {
				t.Error("opened after Close")
			}
		})
	}
}

// A layer that nobody has any more is not fetched any more.
func TestCloseEndsRuns(t *testing.T) {
	b, l := stalling(t, layer.Options{NoFill: true})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := l.ReadAt(ctx, make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.opened = nil
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err == nil {
		t.Error("closed twice")
	}
	b.stop(t) // the store refuses to close while a layer is open
}

// Layers are opened, read and closed by many at once; for some the one of
// another is still being closed.
func TestReopenRaces(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(71, 100))
	want := b.dataFile(t, b.open(t))
	id := b.opened[0].ID()
	b.restart(t, layer.Options{FillDelay: time.Millisecond, FillRetry: time.Millisecond})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 40 {
				l, err := b.set.Layer(id)
				if err != nil {
					t.Error(err)
					return
				}
				off := int64((i*31+n*17)%64) * 50_000
				p := make([]byte, 10_000)
				if _, err := l.ReadAt(context.Background(), p, off); err != nil {
					t.Error(err)
				} else if !bytes.Equal(p, want[off:off+int64(len(p))]) {
					t.Errorf("wrong bytes at %d", off)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Siblings that nobody asked for do not outlive the set.
func TestCloseDuringOpenings(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(72, 3)[:3])
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Stall: registrytest.After(-1)}))
	for i := range byte(20) {
		b.req.Siblings = append(b.req.Siblings, b.AddBlob([]byte{i}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.set.Open(ctx, b.req); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
