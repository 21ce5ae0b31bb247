package metrics

import "github.com/prometheus/client_golang/prometheus"

// Disk is what there is on the disk of the store, in bytes.
type Disk struct {
	Stored  int64 // by the store
	Free    int64
	Reserve int64 // that stays free of what nobody asked for
}

// WatchStore registers gauges of the disk of the store. Each scrape calls disk for
// each of them.
func WatchStore(r prometheus.Registerer, disk func() Disk) {
	for _, g := range []struct {
		name, help string
		of         func(Disk) int64
	}{
		{"store_bytes", "Bytes that the store takes on disk.", func(d Disk) int64 { return d.Stored }},
		{"disk_free_bytes", "Bytes that are available on the disk of the store.", func(d Disk) int64 { return d.Free }},
		{"disk_reserve_bytes", "Bytes of the disk that background fetch and prefetch leave free.", func(d Disk) int64 { return d.Reserve }},
	} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: g.name, Help: g.help},
			func() float64 { return float64(g.of(disk())) }))
	}
}
