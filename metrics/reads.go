package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// readBuckets are seconds, from a registry on the same machine to the read
// timeout.
var readBuckets = []float64{.00025, .0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Chunks counts chunks that were fetched.
type Chunks struct {
	verified, mismatched prometheus.Counter
	bytes                prometheus.Counter
}

func newChunks(r prometheus.Registerer) *Chunks {
	chunks := newCounters(r, "chunks_total",
		"Chunks whose digest was compared, by outcome (verified or mismatch).", "outcome")
	return &Chunks{
		verified:   chunks.WithLabelValues("verified"),
		mismatched: chunks.WithLabelValues("mismatch"),
		bytes:      newCounter(r, "chunk_bytes_total", "Bytes of verified chunks, uncompressed."),
	}
}

// Verified counts a chunk of n bytes, uncompressed, that had the right digest.
func (c *Chunks) Verified(n int64) {
	if c != nil {
		c.verified.Inc()
		c.bytes.Add(float64(n))
	}
}

// Mismatched counts a chunk that had a wrong digest.
func (c *Chunks) Mismatched() {
	if c != nil {
		c.mismatched.Inc()
	}
}

// Read says how a read of a layer was answered that was not all present.
type Read string

// How a read is answered.
const (
	ReadWaited  Read = "waited"  // after a fetch of a chunk, its own or another reader's
	ReadError   Read = "error"   // with EIO
	ReadAborted Read = "aborted" // not at all: the reader was killed or interrupted
)

// AllReads is every value of Read.
var AllReads = []Read{ReadWaited, ReadError, ReadAborted}

// Reads counts reads of layers.
type Reads struct {
	durations map[Read]prometheus.Observer
	bytes     map[Read]prometheus.Counter
	local     prometheus.Counter
}

func newReads(r prometheus.Registerer) *Reads {
	durations := newHistograms(r, "read_duration_seconds",
		"Time that a read of a layer took that was not all present, by outcome: waited (for the network), error, aborted.",
		readBuckets, "outcome")
	bytes := newCounters(r, "read_bytes_total", "Bytes read from layers, by outcome: local, waited, error, aborted.", "outcome")
	reads := &Reads{map[Read]prometheus.Observer{}, map[Read]prometheus.Counter{}, bytes.WithLabelValues("local")}
	for _, o := range AllReads {
		reads.durations[o] = durations.WithLabelValues(string(o))
		reads.bytes[o] = bytes.WithLabelValues(string(o))
	}
	return reads
}

// Done counts a read of n bytes that took d.
func (r *Reads) Done(how Read, n int, d time.Duration) {
	if r == nil {
		return
	}
	if r.durations[how] == nil {
		how = ReadError
	}
	r.durations[how].Observe(d.Seconds())
	r.bytes[how].Add(float64(n))
}

// Local counts a read of n bytes that were all present. There are many of
// these: it takes no longer than to add to a counter.
func (r *Reads) Local(n int) {
	if r != nil {
		r.local.Add(float64(n))
	}
}
