package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// readBuckets are seconds, from a pread of the page cache to the read timeout.
var readBuckets = []float64{.00005, .0001, .00025, .0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

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

// Verified counts a chunk of n bytes, uncompressed, whose digest was right.
func (c *Chunks) Verified(n int64) {
	if c != nil {
		c.verified.Inc()
		c.bytes.Add(float64(n))
	}
}

// Mismatched counts a chunk whose digest was wrong.
func (c *Chunks) Mismatched() {
	if c != nil {
		c.mismatched.Inc()
	}
}

// Read says how a read of a layer was answered.
type Read string

// How a read is answered.
const (
	ReadLocal   Read = "local"   // from the data file
	ReadWaited  Read = "waited"  // after a fetch of a chunk, its own or another reader's
	ReadError   Read = "error"   // with EIO
	ReadAborted Read = "aborted" // not at all: the reader was killed or interrupted
)

// AllReads is every value of Read.
var AllReads = []Read{ReadLocal, ReadWaited, ReadError, ReadAborted}

// Reads counts reads of layers.
type Reads struct {
	durations map[Read]prometheus.Observer
	bytes     map[Read]prometheus.Counter
}

func newReads(r prometheus.Registerer) *Reads {
	durations := newHistograms(r, "read_duration_seconds",
		"Time that a read of a layer took, by outcome: local, waited (for the network), error, aborted.",
		readBuckets, "outcome")
	bytes := newCounters(r, "read_bytes_total", "Bytes read from layers, by outcome.", "outcome")
	reads := &Reads{map[Read]prometheus.Observer{}, map[Read]prometheus.Counter{}}
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
