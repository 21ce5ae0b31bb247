package link

import (
	"sync"
	"time"
)

// Counters is what passed the link since it was made or reset.
type Counters struct {
	Connections int64 `json:"connections"`
	Requests    int64 `json:"requests"`
	BytesUp     int64 `json:"bytes_up"`      // to the server
	BytesDown   int64 `json:"bytes_down"`    // arrived at the client
	MaxInFlight int   `json:"max_in_flight"` // requests at the same time
}

// Request is one request that passed the link.
type Request struct {
	Method string        `json:"method"`
	Path   string        `json:"path"`
	Range  string        `json:"range,omitempty"`
	Status int           `json:"status"` // 0 while in flight, or if the connection broke
	Bytes  int64         `json:"bytes"`  // of the response's body
	Sent   time.Duration `json:"sent"`   // since the counters were reset
	Took   time.Duration `json:"took"`   // until the last byte reached the client
}

// maxLog bounds the requests that are remembered.
const maxLog = 100_000

// tally counts what passes. Requests that were sent before a reset and end
// after it are in no count.
type tally struct {
	mu struct {
		sync.Mutex
		Counters
		inFlight int
		began    time.Time
		log      []*Request
	}
}

func newTally() *tally {
	t := &tally{}
	t.reset()
	return t
}

func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.Counters, t.mu.log, t.mu.inFlight, t.mu.began = Counters{}, nil, 0, time.Now()
}

func (t *tally) counters() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.Counters
}

func (t *tally) requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Request, len(t.mu.log))
	for i, r := range t.mu.log {
		list[i] = *r
	}
	return list
}

func (t *tally) connected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.Connections++
}

func (t *tally) passed(up, down int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.BytesUp += int64(up)
	t.mu.BytesDown += int64(down)
}

// ticket is one request in flight.
type ticket struct {
	*Request
	began time.Time // of the counters it belongs to
}

func (t *tally) start(r Request) ticket {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Sent = time.Since(t.mu.began)
	t.mu.Requests++
	t.mu.inFlight++
	t.mu.MaxInFlight = max(t.mu.MaxInFlight, t.mu.inFlight)
	if len(t.mu.log) < maxLog {
		t.mu.log = append(t.mu.log, &r)
	}
	return ticket{&r, t.mu.began}
}

func (t *tally) end(k ticket, status int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.Status, k.Bytes, k.Took = status, bytes, time.Since(k.began)-k.Sent
	if k.began.Equal(t.mu.began) {
		t.mu.inFlight--
	}
}
