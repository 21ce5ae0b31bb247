package layer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// restart opens the bench's store with other options.
func (b *bench) restart(t testing.TB, opts layer.Options) {
	t.Helper()
	b.stop(t)
	b.start(t, opts, store.Options{})
}

// index parses the index of the bench's blob.
func (b *bench) index(t testing.TB) *index.Index {
	t.Helper()
	footer, err := index.ParseFooter(b.blob, int64(len(b.blob)))
	if err != nil {
		t.Fatal(err)
	}
	x, err := index.Parse(bytes.NewReader(b.blob[footer.TOCOffset:][:footer.TOCSize]), footer)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// holdBack lets only requests for what is not payload through until release is
// called.
func (b *bench) holdBack(t testing.TB) (release func()) {
	held := make(chan struct{})
	payload := b.index(t).Chunks[0].BlobOffset
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		var first int64
		if n, _ := fmt.Sscanf(q.Range, "bytes=%d-", &first); n == 1 && first == payload {
			<-held
		}
		return registrytest.Fault{}
	})
	return func() { close(held) }
}

// A prefetch is one request, is made once, and no call of Open waits for it.
func TestPrefetch(t *testing.T) {
	for name, test := range map[string]struct {
		opts  layer.Options
		build []estargz.Option
		size  func(*index.Index) int64
	}{
		"landmark": {
			layer.Options{NoFill: true}, []estargz.Option{estargz.WithPrioritizedFiles([]string{"large"})},
			func(x *index.Index) int64 { return x.PrefetchSize },
		},
		"landmark and option": {
			layer.Options{NoFill: true, PrefetchSize: 100 << 20}, []estargz.Option{estargz.WithPrioritizedFiles([]string{"large"})},
			func(x *index.Index) int64 { return x.PrefetchSize },
		},
		"option": {
			layer.Options{NoFill: true, PrefetchSize: 2 << 20}, []estargz.Option{estargz.WithAllowPrioritizeNotFound(new([]string))},
			func(*index.Index) int64 { return 2 << 20 },
		},
		"option larger than the blob": {
			layer.Options{NoFill: true, PrefetchSize: 1 << 40}, nil,
			func(x *index.Index) int64 { return x.Chunks[len(x.Chunks)-1].BlobEnd },
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, registrytest.Options{}, someFiles(40, 100), test.build...)
			b.stop(t)
			b.startPatient(t, test.opts)
			release := b.holdBack(t)
			l := b.open(t) // does not wait for what is held back
			x := b.index(t)
			size := test.size(x)
			if size < 1<<20 {
				t.Fatalf("%d bytes are to be prefetched", size)
			}
			waitFor(t, func() bool { return b.Count() == 2 })
			first, last := rangeOf(t, b.Log()[1])
			const landmark = 1 << 10 // what is between chunks is fetched with the one before
			if first != x.Chunks[0].BlobOffset || last >= size+landmark || last < size-(256<<10) {
				t.Errorf("bytes %d to %d were asked for, want up to %d", first, last, size)
			}
			release()
			for _, c := range x.Chunks {
				if c.BlobEnd > size {
					break
				}
				if _, err := l.ReadAt(context.Background(), make([]byte, 1), c.DataOffset); err != nil {
					t.Fatal(err)
				}
			}
			b.open(t)
			if n := b.Count(); n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
		})
	}
}

func TestNoPrefetch(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(41, 10), estargz.WithPrioritizedFiles([]string{"large"}))
	b.restart(t, layer.Options{NoFill: true, NoPrefetch: true, PrefetchSize: 1 << 20})
	b.open(t)
	b.stop(t)
	if n := b.Count(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func rangeOf(t *testing.T, q registrytest.Request) (first, last int64) {
	t.Helper()
	if n, err := fmt.Sscanf(q.Range, "bytes=%d-%d", &first, &last); n != 2 {
		t.Fatalf("%s: %v", q.Range, err)
	}
	return first, last
}

func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	waittest.For(t, "what this test needs", done)
}

// While nobody reads, all layers become full, and then need no registry. One
// that cannot be had does not hold up the others.
func TestFill(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(42, 300))
	b.restart(t, layer.Options{NoPrefetch: true, FillDelay: time.Millisecond, FillRetry: time.Hour})
	gone := *b
	blob, toc := convert(t, someFiles(43, 10))
	gone.req.Source.Digest, gone.req.TOC = b.AddBlob(blob), toc
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Digest == gone.req.Source.Digest && q.Range != "bytes=-65536" {
			return registrytest.Fault{Status: http.StatusNotFound}
		}
		return registrytest.Fault{}
	})
	id, err := b.set.Open(t.Context(), gone.req)
	if err != nil {
		t.Fatal(err)
	}
	never, err := b.set.Layer(id)
	if err != nil {
		t.Fatal(err)
	}
	b.opened = append(b.opened, never)
	l := b.open(t)
	waitFor(t, l.Full)
	if never.Full() {
		t.Error("a layer that is gone is full")
	}
	b.Close()
	b.checkAll(t, l)
}

// Whoever needs a chunk that is far behind in a long answer does not wait for
// all that is before it.
func TestFarMiss(t *testing.T) {
	files := append(someFiles(44, 1), file{name: "more", data: someFiles(45, 0)[0].data}, file{name: "still more", data: someFiles(46, 0)[0].data})
	b := newBench(t, registrytest.Options{}, files)
	b.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Nth == 1 { // the prefetch
			return registrytest.Fault{Stall: registrytest.After(300_000)}
		}
		return registrytest.Fault{}
	})
	b.stop(t)
	b.startPatient(t, layer.Options{NoFill: true, PrefetchSize: 1 << 30, ReadTimeout: time.Minute})
	l := b.open(t)
	at := extents(t, l)
	waitFor(t, func() bool { return b.Count() == 2 })
	for off := int64(2 << 20); off < 3<<20; off += 300_000 {
		want := files[len(files)-1].data[off:][:70_000]
		if got := readAll(t, l, at["still more"]+off, len(want)); string(got) != string(want) {
			t.Errorf("wrong bytes at %d", off)
		}
	}
	if n := b.Count(); n > 7 {
		t.Errorf("%d requests", n)
	}
	// What is not far is waited for, and fetched once.
	waitFor(t, func() bool { return layer.Runs(l) == 1 }) // the prefetch: what came along with those has come
	requests := b.Count()
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error)
	go func() {
		_, err := l.ReadAt(ctx, make([]byte, 1), at["more"])
		read <- err
	}()
	waitFor(t, func() bool { return layer.Readers(l) == 1 })
	if n := layer.Runs(l); n != 1 || b.Count() != requests {
		t.Errorf("near: %d runs, %d requests more", n, b.Count()-requests)
	}
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("near: %v", err)
	}
}
