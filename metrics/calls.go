package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// methods is what containerd's snapshots and diff services have (its api v1).
var methods = []string{
	"Prepare", "View", "Mounts", "Commit", "Remove", "Stat", "Update", "List", "Usage", "Cleanup",
	"Diff", "Apply",
}

// Calls counts the gRPC calls of containerd.
type Calls struct{ durations *prometheus.HistogramVec }

func newCalls(r prometheus.Registerer) *Calls {
	return &Calls{newHistograms(r, "grpc_request_duration_seconds",
		"Time that a gRPC call took, by method and code of the answer.",
		requestBuckets, "method", "code")}
}

// Done counts a call of method, without its service, that took d.
func (c *Calls) Done(method string, code codes.Code, d time.Duration) {
	if c == nil {
		return
	}
	if code > codes.Unauthenticated {
		code = codes.Unknown
	}
	c.durations.WithLabelValues(value(method, methods, "other"), code.String()).Observe(d.Seconds())
}
