package link

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// segmentSize is how much of a stream gets its turn on the link at once.
	segmentSize = 16 << 10
	// window bounds the bytes of one connection and direction that have been
	// sent and have not arrived, as TCP's receive window does.
	window = 16 << 20
	// ahead is how far a sender may be before its turn: the queue at the link's
	// entry. It hides that the sleeps of a busy machine are too long.
	ahead = 2 * time.Millisecond
)

// lane is one direction of the link.
type lane struct {
	mu struct {
		sync.Mutex
		profile Profile
		free    time.Time // when everything sent so far will have left
	}
}

func newLane(p Profile) *lane {
	l := &lane{}
	l.mu.profile = p
	return l
}

// send takes the link's next turn for n bytes: departs is when the last of them
// is on its way, arrives when it comes out at the other end.
func (l *lane) send(n int) (departs, arrives time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	departs = time.Now()
	if rate := l.mu.profile.Bandwidth; rate > 0 {
		if l.mu.free.After(departs) {
			departs = l.mu.free
		}
		departs = departs.Add(time.Duration(float64(n) * 8 / float64(rate) * float64(time.Second)))
		l.mu.free = departs
	}
	return departs, departs.Add(l.mu.profile.RTT / 2)
}

func (l *lane) rtt() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.profile.RTT
}

func (l *lane) set(p Profile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.profile = p
	l.mu.free = time.Time{}
}

// segment is bytes under way; none for the end of the stream.
type segment struct {
	data    []byte
	arrives time.Time
}

// pipe is one direction of one connection.
type pipe struct {
	lane     *lane
	from, to net.Conn
	earliest time.Time // nothing arrives before: the connection's handshake
	sent     io.Writer // sees the bytes as they enter the link
	arrived  io.Writer // sees them as they come out of it
}

// run relays until the stream ends or done is closed. The end of the stream is
// passed on after the last byte; an error closes both sides.
func (p *pipe) run(done <-chan struct{}) {
	queue := make(chan segment, window/segmentSize)
	go p.fill(queue, done)
	for s := range queue {
		if !sleepUntil(s.arrives, done) {
			break
		}
		if s.data == nil {
			closeWrite(p.to)
			return
		}
		p.arrived.Write(s.data)
		if _, err := p.to.Write(s.data); err != nil {
			break
		}
	}
	p.from.Close()
	p.to.Close()
	for range queue { // until fill has seen that the connection is closed
	}
}

// fill reads the stream as fast as the link takes it, and ends the queue.
func (p *pipe) fill(queue chan<- segment, done <-chan struct{}) {
	defer close(queue)
	for {
		buf := make([]byte, segmentSize)
		n, err := p.from.Read(buf)
		if n > 0 {
			departs, arrives := p.lane.send(n)
			p.sent.Write(buf[:n])
			if !p.enqueue(queue, segment{buf[:n], arrives}, done) {
				return
			}
			if !sleepUntil(departs.Add(-ahead), done) {
				return
			}
		}
		if err == io.EOF {
			_, arrives := p.lane.send(0)
			p.enqueue(queue, segment{nil, arrives}, done)
			return
		}
		if err != nil {
			return
		}
	}
}

func (p *pipe) enqueue(queue chan<- segment, s segment, done <-chan struct{}) bool {
	if s.arrives.Before(p.earliest) {
		s.arrives = p.earliest
	}
	select {
	case queue <- s:
		return true
	case <-done:
		return false
	}
}

// sleepUntil reports whether the time came before done was closed.
func sleepUntil(t time.Time, done <-chan struct{}) bool {
	d := time.Until(t)
	if d <= 0 {
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}

func closeWrite(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.CloseWrite()
		return
	}
	c.Close()
}
