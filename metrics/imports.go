package metrics

import "github.com/prometheus/client_golang/prometheus"

// Import says how the import of a layer ended.
type Import string

// How an import ends.
const (
	ImportDone      Import = "done"      // its blob is verified
	ImportFailed    Import = "failed"    // the log has why, and the layer is left to the ordinary pull
	ImportCancelled Import = "cancelled" // nobody waited for it any more
)

// AllImports is every value of Import.
var AllImports = []Import{ImportDone, ImportFailed, ImportCancelled}

// Imports counts layers that are imported whole.
type Imports struct {
	ended   *prometheus.CounterVec
	running prometheus.Gauge
}

func newImports(r prometheus.Registerer) *Imports {
	m := &Imports{
		ended: newCounters(r, "imports_total", "Imports of layers that ended, by outcome.", "outcome"),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "imports_running", Help: "Imports of layers that are in progress now.",
		}),
	}
	r.MustRegister(m.running)
	for _, o := range AllImports {
		m.ended.WithLabelValues(string(o))
	}
	return m
}

// Ended counts an import that ended.
func (m *Imports) Ended(o Import) {
	if m != nil {
		m.ended.WithLabelValues(value(o, AllImports, ImportFailed)).Inc()
	}
}

// Running counts n imports more that are in progress, or fewer if n is negative.
func (m *Imports) Running(n int) {
	if m != nil {
		m.running.Add(float64(n))
	}
}
