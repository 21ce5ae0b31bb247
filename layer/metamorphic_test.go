package layer_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// world is one way to read the same bytes.
type world struct {
	seed   uint64
	build  []estargz.Option
	opts   layer.Options
	faults []registrytest.Fault // what may happen to a request
	bad    int                  // percentage of requests that it happens to
}

func randomWorld(seed uint64) world {
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(n int) bool { return r.IntN(n) == 0 }
	w := world{seed: seed, bad: r.IntN(50), opts: layer.Options{
		ReadTimeout: time.Duration(20+r.IntN(2000)) * time.Millisecond,
		NoPrefetch:  pick(2),
		NoFill:      pick(2),
		FillDelay:   time.Duration(r.IntN(20)) * time.Millisecond,
		FillRetry:   time.Duration(r.IntN(20)) * time.Millisecond,
	}}
	if pick(2) {
		w.opts.PrefetchSize = r.Int64N(5 << 20)
	}
	if pick(2) {
		w.opts.ChunkMemory = 1 + r.Int64N(1<<20) // many streams pass alone
	}
	w.build = append(w.build, estargz.WithChunkSize(1<<(10+r.IntN(10))))
	if pick(3) {
		w.build = append(w.build, zstdChunked())
	} else if pick(2) {
		w.build = append(w.build, estargz.WithMinChunkSize(1<<(10+r.IntN(8))))
	}
	if pick(2) {
		w.build = append(w.build, estargz.WithPrioritizedFiles([]string{"large"}))
	}
	somewhere := func() *int64 { return registrytest.After(r.Int64N(200_000) - 100) }
	for _, f := range []registrytest.Fault{
		{Status: http.StatusInternalServerError},
		{Status: http.StatusTooManyRequests},
		{Status: http.StatusNotFound},
		{Corrupt: true},
		{Truncate: somewhere()},
		{Close: somewhere()},
		{Stall: somewhere()},
		{Delay: time.Duration(r.IntN(50)) * time.Millisecond},
		{ContentRange: "bytes 5-6/7"},
	} {
		if pick(2) {
			w.faults = append(w.faults, f)
		}
	}
	return w
}

// fault returns what goes wrong with a request, the same in each run.
func (w world) fault(nth uint64) registrytest.Fault {
	r := rand.New(rand.NewPCG(w.seed, nth+1))
	if len(w.faults) == 0 || r.IntN(100) >= w.bad {
		return registrytest.Fault{}
	}
	return w.faults[r.IntN(len(w.faults))]
}

// With every format, option and fault, a read returns the original bytes or an error, and
// after the faults the original bytes.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	seeds := uint64(24)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := randomWorld(seed)
			b := newBench(t, registrytest.Options{Redirect: seed%2 == 0}, someFiles(seed, 40), w.build...)
			l := b.openQuick(t, nil, w.opts)
			want := b.dataFile(t, l)
			var requests atomic.Uint64
			b.SetFault(func(registrytest.Request) registrytest.Fault { return w.fault(requests.Add(1)) })
			var wg sync.WaitGroup
			for reader := range uint64(6) {
				wg.Go(func() { readAnything(t, l, want, rand.New(rand.NewPCG(seed, 100+reader))) })
			}
			wg.Wait()
			b.SetFault(nil)
			eventually(t, func() error {
				got := make([]byte, len(want))
				_, err := l.ReadAt(context.Background(), got, 0)
				if err == nil && !bytes.Equal(got, want) {
					t.Fatal("wrong bytes")
				}
				return err
			})
			b.stop(t)
			b.Close()
			b.start(t, layer.Options{NoFill: true, NoPrefetch: true}, store.Options{})
			if got := readAll(t, b.open(t), 0, len(want)); !bytes.Equal(got, want) {
				t.Error("wrong bytes after a restart")
			}
		})
	}
}

// dataFile returns what the data file of l has to be.
func (b *bench) dataFile(t testing.TB, l *layer.Layer) []byte {
	t.Helper()
	all := make([]byte, l.DataSize())
	at := extents(t, l)
	for _, f := range b.files {
		copy(all[at[f.name]:], f.data)
	}
	return all
}

func readAnything(t *testing.T, l *layer.Layer, want []byte, r *rand.Rand) {
	for range 30 {
		off := r.Int64N(l.DataSize())
		p := make([]byte, min(1+r.Int64N(1<<r.IntN(20)), l.DataSize()-off))
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(1000))*time.Millisecond)
		n, err := l.ReadAt(ctx, p, off)
		cancel()
		if err == nil && (n != len(p) || !bytes.Equal(p, want[off:off+int64(n)])) {
			t.Errorf("wrong bytes in [%d,%d)", off, off+int64(len(p)))
		}
	}
}
