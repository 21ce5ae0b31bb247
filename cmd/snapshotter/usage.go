package main

import (
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// diskOf returns a function that measures the disk of a store. Values are zero after an
// error.
func diskOf(st *store.Store) func() metrics.Disk {
	return func() metrics.Disk {
		space, _ := st.Space()
		return metrics.Disk{Stored: st.Bytes(), Free: space.Free, Reserve: space.Reserve}
	}
}
