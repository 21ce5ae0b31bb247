package main

import (
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// diskOf returns what is to be watched of the disk of a store. What cannot be
// found out is zero.
func diskOf(st *store.Store) func() metrics.Disk {
	return func() metrics.Disk {
		space, _ := st.Space()
		return metrics.Disk{Stored: st.Bytes(), Free: space.Free, Reserve: space.Reserve}
	}
}
