package takeover

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/containerd/log"
)

// Server serves the trees of this process to the kernel, on one FUSE connection.
// Mounts.Serve calls TakeOver if there is an inherited connection; Connect if there is none,
// or if TakeOver failed; and Connection after Connect.
type Server interface {
	// TakeOver serves c, a connection of the predecessor, and answers the requests that
	// the kernel has sent since. The Server owns c.Device; after an error it has closed
	// the descriptor.
	TakeOver(ctx context.Context, c Connection) error
	// Connect makes a new connection and serves it.
	Connect(ctx context.Context) error
	// Connection returns the connection that is served, for a successor. The
	// descriptor remains the Server's.
	Connection() (Connection, error)
}

// Mounts takes the FUSE connection of the predecessor over, and stores the connection of
// this process for the successor. It may be used concurrently.
type Mounts struct {
	store descriptorStore

	mu struct {
		sync.Mutex
		// inherited is the connection that the predecessor left while it is
		// waiting: nil if there was none, and when it is claimed or refused.
		// INVARIANT: while it is not nil its refuseTimer runs.
		inherited *connection
		proof     proof // that this process's connection is stored
	}
}

// inherit makes c, a connection of the predecessor, the inherited one, or refuses it. It
// expires when its readers have waited for timeout.
func (m *Mounts) inherit(ctx context.Context, c *connection, timeout time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest, err := c.open(timeout)
	if err != nil {
		m.refuse(ctx, c, err)
		return
	}
	m.mu.inherited = c
	c.refuseTimer = time.AfterFunc(rest, func() { m.expire(ctx, timeout) })
}

// Inherited reports whether an inherited connection is waiting: there may then be mounts
// that Serve is going to serve.
func (m *Mounts) Inherited() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.inherited != nil
}

// Serve makes s serve the connection of the predecessor, if there is one and its
// terms are as wanted, and otherwise a new one. It returns when the connection is
// served, and sent to systemd for the successor. It fails only if s can serve neither.
// Why an inherited connection is refused, or why this process's cannot be stored, is
// logged. It is called once.
func (m *Mounts) Serve(ctx context.Context, wanted Terms, s Server) error {
	if c := m.claim(ctx, wanted); c != nil {
		if m.takeOver(ctx, c, s) {
			m.prove(ctx, nil)
			return nil
		}
	}
	if err := s.Connect(ctx); err != nil {
		return err
	}
	m.prove(ctx, m.offer(wanted, s))
	return nil
}

// claim returns the inherited connection if it can be taken over with the terms
// wanted, and refuses it otherwise. From then on it does not expire.
func (m *Mounts) claim(ctx context.Context, wanted Terms) *connection {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.mu.inherited
	if c == nil {
		return nil
	}
	m.mu.inherited = nil
	c.refuseTimer.Stop()
	if err := c.acceptable(wanted); err != nil {
		m.refuse(ctx, c, err)
		return nil
	}
	return c
}

// takeOver makes s serve c, which was claimed. If that fails it refuses c.
func (m *Mounts) takeOver(ctx context.Context, c *connection, s Server) (ok bool) {
	device := c.device
	c.device = nil // s owns it
	err := s.TakeOver(ctx, Connection{device, c.terms.Init, c.terms.Driver})
	if err != nil {
		m.refuse(ctx, c, err)
		return false
	}
	defer c.close()
	waited, err := c.served()
	log.G(ctx).WithField("waited", waited).Info("mounts of the process before are taken over")
	if err != nil {
		log.G(ctx).WithError(err).Warn("readers will not wait for the next process")
	}
	return true
}

// expire refuses the inherited connection if it still waits.
func (m *Mounts) expire(ctx context.Context, timeout time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.mu.inherited; c != nil {
		m.mu.inherited = nil
		m.refuse(ctx, c, notServed(timeout))
	}
}

// refuse closes c, which is no longer waiting, here and in systemd's store.
func (m *Mounts) refuse(ctx context.Context, c *connection, why error) {
	c.close()
	log.G(ctx).WithError(why).
		Error("mounts of the process before are not taken over: containers that use them get I/O errors for what they have not read")
	if err := m.store.remove(deviceName, termsName); err != nil {
		log.G(ctx).WithError(err).Error("systemd cannot be told to close the connection of the process before")
	}
}

// offer stores the connection of s, with its terms, for the successor.
func (m *Mounts) offer(wanted Terms, s Server) error {
	c, err := s.Connection()
	if err != nil {
		return err
	}
	file, err := newTermsFile(terms{Terms: Terms{wanted.Format, wanted.Root, c.Driver}, Init: c.Init})
	if err != nil {
		return err
	}
	defer file.Close()
	if err := m.store.add(termsName, file); err != nil {
		return err
	}
	return m.store.add(deviceName, c.Device)
}

// prove makes the proof that the connection is stored. err is the error of storing it, which
// prove logs.
func (m *Mounts) prove(ctx context.Context, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.mu.proof, err = newProof(m.store)
	}
	if err != nil && !errors.Is(err, errNoStore) {
		log.G(ctx).WithError(err).Warn("mounts will not outlive this process")
	}
}

// Stored reports whether systemd has a connection for the successor: that of this process, or
// an inherited one that is waiting.
func (m *Mounts) Stored() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.inherited != nil || m.mu.proof.holds()
}

// Withdraw removes the connection from systemd's store: the successor gets none.
func (m *Mounts) Withdraw() error {
	return m.store.remove(deviceName, termsName, proofName)
}
