package takeover

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Connection is a FUSE connection, and what it takes to serve it.
type Connection struct {
	Device *os.File // of /dev/fuse
	Init   []byte   // the INIT request with which the kernel began
	Driver string   // how the trees are mounted that stand on it: see Terms
}

// connection is a connection that the predecessor left.
type connection struct {
	device *os.File // nil if it was not passed
	file   *os.File // of its terms; nil if it was not passed
	terms  terms    // what is in file, after open

	// refuseTimer refuses the connection when takeoverTimeout is over.
	refuseTimer *time.Timer
}

// open reads the terms of c, and writes into them since when readers wait, if
// that is since now. It returns how much longer they wait if they wait for
// timeout in all; an error if that is over.
func (c *connection) open(timeout time.Duration) (rest time.Duration, err error) {
	if c.device == nil || c.file == nil {
		return 0, errors.New("it is not complete")
	}
	if c.terms, err = readTerms(c.file); err != nil {
		return 0, err
	}
	now, err := sinceBoot()
	if err != nil {
		return 0, err
	}
	if c.terms.Waiting == 0 {
		c.terms.Waiting = now
		if err := c.terms.write(c.file); err != nil {
			return 0, fmt.Errorf("terms: %w", err)
		}
	}
	waited := now - c.terms.Waiting
	if waited >= timeout {
		return 0, notServed(waited)
	}
	return timeout - waited, nil
}

// notServed is the reason to refuse a connection after its readers have waited for too
// long.
func notServed(waited time.Duration) error {
	return fmt.Errorf("it was not served for %v", waited)
}

// acceptable returns an error if c has other terms than wanted, or if the kernel has
// ended it (fs/fuse/dev.c, fuse_dev_poll).
func (c *connection) acceptable(wanted Terms) error {
	if err := c.terms.differ(wanted); err != nil {
		return err
	}
	events, err := poll(c.device)
	if err == nil && events&unix.POLLERR != 0 {
		err = errors.New("it was aborted")
	}
	return err
}

// served writes into the terms of c that no reader waits any more, and returns
// for how long one may have waited.
func (c *connection) served() (waited time.Duration, err error) {
	now, err := sinceBoot()
	if err != nil {
		return 0, err
	}
	waited = now - c.terms.Waiting
	c.terms.Waiting = 0
	return waited, c.terms.write(c.file)
}

// close closes this process's copies of what systemd has.
func (c *connection) close() {
	for _, f := range []*os.File{c.device, c.file} {
		if f != nil {
			f.Close()
		}
	}
}
