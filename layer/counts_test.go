package layer_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ladle-dev/ladle/internal/registrytest"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/metrics"
)

// sums returns the values of all counters, and the counts of all histograms,
// by name and label value.
func sums(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestCounts(t *testing.T) {
	t.Parallel() // it waits for a read timeout
	r := prometheus.NewRegistry()
	counts := metrics.New(r)
	b := newBench(t, registrytest.Options{}, someFiles(60, 10))
	b.restart(t, layer.Options{
		NoFill: true, NoPrefetch: true,
		Counts:      layer.Counts{Layers: counts.Layers, Chunks: counts.Chunks, Reads: counts.Reads},
		ReadTimeout: 5 * time.Second, // of whom wrong bytes reach
	})
	plain := b.req
	plain.Source.Digest = b.AddBlob(tarOf(t, b.files))
	if _, err := b.set.Open(t.Context(), plain); err == nil {
		t.Fatal("a plain layer was opened")
	}
	b.open(t)
	l := b.open(t)
	off := extents(t, l)["large"]
	for range 3 {
		if _, err := l.ReadAt(context.Background(), make([]byte, 1000), off); err != nil {
			t.Fatal(err)
		}
	}
	b.SetFault(registrytest.Always(registrytest.Blob, registrytest.Fault{Corrupt: true}))
	if _, err := l.ReadAt(context.Background(), make([]byte, 100), off+2<<20); err == nil {
		t.Fatal("wrong bytes were read")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.ReadAt(ctx, make([]byte, 100), off+2<<20); err == nil {
		t.Fatal("read without a context")
	}
	got := sums(t, r)
	for name, want := range map[string]float64{
		"ladle_layers_opened_total fetched":    1,
		"ladle_layers_opened_total stored":     1,
		"ladle_layers_opened_total not_lazy":   1,
		"ladle_read_bytes_total local":         2000,
		"ladle_read_bytes_total waited":        1000,
		"ladle_read_duration_seconds waited":   1,
		"ladle_read_duration_seconds error":    1,
		"ladle_read_duration_seconds aborted":  1,
		"ladle_layers_opened_total unverified": 0,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if got["ladle_chunks_total mismatch"] < 1 {
		t.Error("wrong bytes were not counted")
	}
	if got["ladle_chunks_total verified"] < 1 || got["ladle_chunk_bytes_total"] < 128<<10 {
		t.Errorf("%v chunks of %v bytes", got["ladle_chunks_total verified"], got["ladle_chunk_bytes_total"])
	}
}
