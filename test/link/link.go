package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Link is a running link. Its address stands in for the server's.
type Link struct {
	listener net.Listener
	target   string
	up, down *lane
	tally    *tally
	done     chan struct{} // closed by Close
	close    func() error
	running  sync.WaitGroup
	port     *os.File // keeps the port for Again; nil if the address is the caller's own
}

// Listen starts a link to the server at target (host:port) on a free port of
// the loopback device. The caller closes it.
func Listen(target string, p Profile) (*Link, error) {
	address, port, err := keepPort()
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l, err := ListenOn(address, target, p)
	if err != nil {
		return nil, errors.Join(err, port.Close())
	}
	l.port = port
	return l, nil
}

// Again starts a link in the place of l, which was closed: on its port, which nobody
// has taken meanwhile. The caller closes it.
func (l *Link) Again(p Profile) (*Link, error) {
	again, err := ListenOn(l.Addr(), l.target, p)
	if err != nil {
		return nil, err
	}
	again.port = l.port
	return again, nil
}

// ListenOn is Listen on an address of one's own.
func ListenOn(address, target string, p Profile) (*Link, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l := &Link{
		listener: listener, target: target,
		up: newLane(p), down: newLane(p), tally: newTally(), done: make(chan struct{}),
	}
	l.close = sync.OnceValue(func() error {
		close(l.done)
		return listener.Close()
	})
	l.running.Go(l.accept)
	return l, nil
}

// Addr is the link's own host:port.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// SetProfile changes the link from the next segment on; bytes under way keep
// the delay they started with.
func (l *Link) SetProfile(p Profile) {
	l.up.set(p)
	l.down.set(p)
}

// Counters is what passed since the start or the last Reset.
func (l *Link) Counters() Counters { return l.tally.counters() }

// Requests is the requests behind Counters, in the order they were sent.
func (l *Link) Requests() []Request { return l.tally.requests() }

// Reset starts counting anew.
func (l *Link) Reset() { l.tally.reset() }

// Close breaks every connection and returns when nothing is relayed any more.
func (l *Link) Close() error {
	err := l.close()
	l.running.Wait()
	return err
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, or a client that has gone already.
			if !sleepUntil(time.Now().Add(10*time.Millisecond), l.done) {
				return
			}
			continue
		}
		l.running.Go(func() { l.relay(client) })
	}
}

func (l *Link) relay(client net.Conn) {
	accepted := time.Now()
	defer client.Close()
	server, err := net.DialTimeout("tcp", l.target, 10*time.Second)
	if err != nil {
		return // the client sees a closed connection
	}
	defer server.Close()
	l.tally.connected()
	e := newExchange(l.tally)
	defer e.close()

	finished := make(chan struct{})
	defer close(finished)
	l.running.Go(func() {
		select {
		case <-l.done:
			client.Close()
			server.Close()
		case <-finished:
		}
	})

	// The client's first byte can leave one round trip after its SYN, and is
	// half a round trip on its way.
	earliest := accepted.Add(l.up.rtt() * 3 / 2)
	up := &pipe{lane: l.up, from: client, to: server, earliest: earliest,
		sent: io.MultiWriter(e.up, count{func(n int) { l.tally.passed(n, 0) }}), arrived: io.Discard}
	down := &pipe{lane: l.down, from: server, to: client, earliest: earliest,
		sent: io.Discard, arrived: io.MultiWriter(e.down, count{func(n int) { l.tally.passed(0, n) }})}
	var both sync.WaitGroup
	both.Go(func() { up.run(l.done) })
	both.Go(func() { down.run(l.done) })
	both.Wait()
}

// count is a writer that tells how much it was given.
type count struct{ add func(n int) }

func (c count) Write(p []byte) (int, error) {
	c.add(len(p))
	return len(p), nil
}
