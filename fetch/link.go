package fetch

import (
	"sync"
	"time"

	"github.com/ladle-dev/ladle/lru"
)

// Link is the estimate for the path to a blob's host.
type Link struct {
	RoundTrip time.Duration // from a request to the first byte of its answer; zero if unknown
	Bandwidth float64       // bytes per second of one range; zero if unknown
}

const (
	// recentTrips is the number of round trips that the estimate uses. Their minimum
	// is the latency of the path, without queues and busy servers. A change of the
	// path shows after this number.
	recentTrips = 8

	// minTransfer is the least number of bytes for a measurement of bandwidth: fewer
	// bytes arrive in the same packets as the header.
	minTransfer = 32 << 10

	// heavyTransfer is the number of bytes of a transfer with the weight of all
	// earlier ones together.
	heavyTransfer = 1 << 20
)

// estimate computes a Link from measurements. The zero value has none.
type estimate struct {
	trips     [recentTrips]time.Duration
	count     int     // number of trips so far
	bandwidth float64 // bytes per second
}

// trip adds one round trip.
func (e *estimate) trip(d time.Duration) {
	e.trips[e.count%recentTrips] = max(d, 1)
	e.count++
}

// transfer adds a body of n bytes that took d from its first byte to its last.
func (e *estimate) transfer(n int64, d time.Duration) {
	if n < minTransfer {
		return
	}
	rate := float64(n) / max(d, time.Microsecond).Seconds()
	if e.bandwidth == 0 {
		e.bandwidth = rate
		return
	}
	weight := float64(n) / float64(n+heavyTransfer)
	e.bandwidth += weight * (rate - e.bandwidth)
}

// link returns the current estimate.
func (e *estimate) link() Link {
	l := Link{Bandwidth: e.bandwidth}
	for _, d := range e.trips[:min(e.count, recentTrips)] {
		if l.RoundTrip == 0 || d < l.RoundTrip {
			l.RoundTrip = d
		}
	}
	return l
}

// maxServers bounds the servers with an estimate. A registry can redirect each request to
// another server name.
const maxServers = 1024

// links holds the estimates by server, "name:port".
type links struct {
	mu struct {
		sync.Mutex
		servers *lru.Cache[string, *estimate] // nil: none
	}
}

// update changes the estimate of a server.
func (l *links) update(server string, change func(*estimate)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.servers == nil {
		l.mu.servers = lru.New[string, *estimate](maxServers)
	}
	e, ok := l.mu.servers.Get(server)
	if !ok {
		e = new(estimate)
		l.mu.servers.Add(server, e)
	}
	change(e)
}

// link returns the estimate of a server.
func (l *links) link(server string) Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.servers == nil {
		return Link{}
	}
	e, _ := l.mu.servers.Get(server)
	if e == nil {
		return Link{}
	}
	return e.link()
}
