package fetch

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Link is what past requests tell of the way to a blob's host.
type Link struct {
	RoundTrip time.Duration // from a request to the first byte of its answer; zero if unknown
	Bandwidth float64       // bytes per second of one range; zero if unknown
}

const (
	// recentTrips is how many round trips the estimate looks back: their
	// minimum is the way itself, without queues and busy servers, and a new way
	// is believed after so many.
	recentTrips = 8

	// minTransfer is the least number of bytes whose duration says something
	// about bandwidth: fewer are in the same packets as the header.
	minTransfer = 32 << 10

	// heavyTransfer is the number of bytes with which a transfer counts as much
	// as all before it.
	heavyTransfer = 1 << 20
)

// estimate turns measurements into a Link. The zero value knows nothing.
type estimate struct {
	trips     [recentTrips]time.Duration
	count     int     // of trips seen
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

// link returns the present estimate.
func (e *estimate) link() Link {
	l := Link{Bandwidth: e.bandwidth}
	for _, d := range e.trips[:min(e.count, recentTrips)] {
		if l.RoundTrip == 0 || d < l.RoundTrip {
			l.RoundTrip = d
		}
	}
	return l
}

// serversRemembered bounds for how many servers there are estimates. A registry
// may redirect each request to a name that nobody has heard of.
const serversRemembered = 1024

// links holds the estimates by server, "name:port".
type links struct {
	mu struct {
		sync.Mutex
		servers *simplelru.LRU[string, *estimate] // nil: none
	}
}

// update changes the estimate of a server.
func (l *links) update(server string, change func(*estimate)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.servers == nil {
		l.mu.servers = newLRU[string, *estimate](serversRemembered)
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
