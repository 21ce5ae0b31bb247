package metrics

import "github.com/prometheus/client_golang/prometheus"

// WatchStore registers a gauge of the bytes that the store takes on disk.
// Each scrape calls bytes.
func WatchStore(r prometheus.Registerer, bytes func() int64) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "store_bytes", Help: "Bytes that the store takes on disk.",
	}, func() float64 { return float64(bytes()) }))
}
