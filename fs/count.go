package fs

import (
	"sync/atomic"

	"github.com/ladle-dev/ladle/metrics"
)

// counts counts requests by operation.
type counts struct {
	byOp    map[metrics.Op]*atomic.Uint64 // has every operation; immutable
	metrics *metrics.Requests
}

func newCounts(m *metrics.Requests) counts {
	c := counts{byOp: map[metrics.Op]*atomic.Uint64{}, metrics: m}
	for _, op := range metrics.AllOps {
		c.byOp[op] = new(atomic.Uint64)
	}
	return c
}

func (c *counts) add(op metrics.Op) {
	c.byOp[op].Add(1)
	c.metrics.Add(op)
}

func (c *counts) snapshot() map[metrics.Op]uint64 {
	m := make(map[metrics.Op]uint64, len(c.byOp))
	for op, n := range c.byOp {
		m[op] = n.Load()
	}
	return m
}
