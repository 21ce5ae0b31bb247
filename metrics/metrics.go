package metrics

import "github.com/prometheus/client_golang/prometheus"

const namespace = "ladle"

// Metrics is every collector of a daemon. The zero value counts nothing.
type Metrics struct {
	Layers   *Layers   // layers that were opened
	Imports  *Imports  // layers that are imported
	Proofs   *Proofs   // layers of which the tar was rebuilt
	Prepares *Prepares // snapshots that were prepared
	HTTP     *HTTP     // requests to registries
	Chunks   *Chunks   // chunks that were fetched
	Reads    *Reads    // reads of layers
	Requests *Requests // requests of the kernel to FUSE
	Mounts   *Mounts   // trees that are mounted
	Calls    *Calls    // gRPC calls of containerd
	Settles  *Settles  // files that are stored once

	Credentials *Credentials // answers of sources of credentials
}

// New returns collectors that are registered with r. It panics if r has
// collectors of these names already, as one daemon makes them once.
func New(r prometheus.Registerer) *Metrics {
	return &Metrics{
		Layers:   newLayers(r),
		Imports:  newImports(r),
		Proofs:   newProofs(r),
		Prepares: newPrepares(r),
		HTTP:     newHTTP(r),
		Chunks:   newChunks(r),
		Reads:    newReads(r),
		Requests: newRequests(r),
		Mounts:   newMounts(r),
		Calls:    newCalls(r),
		Settles:  newSettles(r),

		Credentials: newCredentials(r),
	}
}

func newCounter(r prometheus.Registerer, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	r.MustRegister(c)
	return c
}

func newCounters(r prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	r.MustRegister(c)
	return c
}

func newHistograms(r prometheus.Registerer, name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
	}, labels)
	r.MustRegister(h)
	return h
}

// value returns v if it is among values, and other if not, so that no label
// gets a value from outside.
func value[T ~string](v T, values []T, other T) string {
	for _, known := range values {
		if v == known {
			return string(v)
		}
	}
	return string(other)
}
