package layer_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// eventually calls f until it succeeds: hosts that failed are left alone for
// a while.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if err = f(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
}

// openQuick opens the bench's layer for a client that makes quick requests. A client with
// time adds the layer to the store before: on a busy machine a registry may need more time
// than quick requests have. hosts nil: the registry alone.
func (b *bench) openQuick(t *testing.T, hosts fetch.Registries, lopts layer.Options) *layer.Layer {
	t.Helper()
	if hosts == nil {
		hosts = fetch.Hosts(context.Background(), fetch.HostsOptions{})
	}
	b.stop(t)
	b.startWith(t, fetch.New(hosts, steady), layer.Options{NoFill: true, NoPrefetch: true}, store.Options{})
	b.open(t)
	b.stop(t)
	b.startWith(t, fetch.New(hosts, quick), lopts, store.Options{})
	return b.open(t)
}

// A mirror that lies is left for one that does not.
func TestLyingMirror(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(21, 10))
	liar := registrytest.New(t, registrytest.Options{})
	liar.AddBlob(b.blob)
	b.stop(t)
	hosts := fetch.Hosts(context.Background(), fetch.HostsOptions{Mirrors: map[string][]fetch.Mirror{
		b.Host(): {{Host: liar.Host(), Insecure: true}},
	}})
	b.startWith(t, fetch.New(hosts, steady), layer.Options{NoFill: true, NoPrefetch: true}, store.Options{})
	l := b.open(t)
	liar.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Corrupt: true}))
	b.checkAll(t, l)
}

// A reader that is interrupted returns at once, and a stalled registry does
// not hold one longer than the read timeout.
func TestInterrupt(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(22, 1))
	l := b.open(t)
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Stall: registrytest.After(0)}))
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error)
	go func() {
		_, err := l.ReadAt(ctx, make([]byte, 100), 0)
		read <- err
	}()
	waitFor(t, func() bool { return layer.Readers(l) == 1 })
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted read: %v", err)
	}
}

func TestReadTimeout(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(23, 1))
	b.stop(t)
	patient := fetch.New(fetch.Hosts(context.Background(), fetch.HostsOptions{}), fetch.Options{})
	b.startWith(t, patient, layer.Options{NoFill: true, NoPrefetch: true, ReadTimeout: 100 * time.Millisecond}, store.Options{})
	l := b.open(t)
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Stall: registrytest.After(0)}))
	_, err := l.ReadAt(context.Background(), make([]byte, 100), 0)
	if !errors.Is(err, layer.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want ErrTimeout", err)
	}
}

// A reader without time is given what is local, and nothing else.
func TestReaderWithoutTime(t *testing.T) {
	b := newBench(t, registrytest.Options{}, someFiles(27, 1))
	l := b.open(t)
	at := extents(t, l)["large"]
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	p := make([]byte, 100)
	if _, err := l.ReadAt(ctx, p, at); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
	readAll(t, l, at, len(p))
	if _, err := l.ReadAt(ctx, p, at); err != nil {
		t.Error(err)
	}
}

// Whoever opens a layer of a dead registry is told so.
func TestOpenFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]registrytest.Fault{
		"404":           {Status: http.StatusNotFound},
		"500":           {Status: http.StatusInternalServerError},
		"wrong bytes":   {Corrupt: true},
		"short":         {Truncate: registrytest.After(10)},
		"stalled early": {Stall: registrytest.After(-1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, registrytest.Options{}, someFiles(24, 3)[:3])
			if fault.Stall != nil {
				b.startQuick(t, layer.Options{NoFill: true, NoPrefetch: true})
			}
			b.SetFault(registrytest.Always(registrytest.Blob, fault))
			if _, err := b.set.Open(t.Context(), b.req); err == nil {
				t.Error("no error")
			}
			if n := b.Count(); fault.Status == http.StatusNotFound && n != 1 {
				t.Errorf("%d requests for what is not there, want 1: the ordinary pull is waiting", n)
			}
			b.SetFault(nil)
			eventually(t, func() error { _, err := b.set.Open(t.Context(), b.req); return err })
		})
	}
}
