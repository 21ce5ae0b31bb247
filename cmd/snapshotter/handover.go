package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/fs"
)

// Names of what systemd keeps for the next process of the service.
const (
	deviceName = "ladle-fuse"  // the FUSE connection
	termsName  = "ladle-terms" // the memory file of its terms
	proofName  = "ladle-proof" // a pipe's end: see proof
)

// patience bounds how long readers wait for a process that takes their
// connection over, from the first that was started to do so.
const patience = time.Minute

// handover takes the FUSE connection of an earlier process of the service
// over, and leaves its own to the next. In between systemd has it. A process
// may end at any time and in any way: the connection is kept from the moment
// that it is there.
type handover struct {
	proof proof // that our own connection is kept

	mu struct {
		sync.Mutex
		// left is the connection that an earlier process left. It is nil
		// if there is none, and once it is taken over or refused.
		left *connection
	}
}

// connection is a FUSE connection that systemd keeps.
type connection struct {
	device *os.File
	file   *os.File // of its terms
	terms  terms
	late   *time.Timer // refuses it
}

// newHandover begins with what an earlier process left, if any: device and
// the file of its terms, or nil. From then on it is known how long readers
// have waited; when that is longer than patience they wait no more.
func newHandover(ctx context.Context, device, file *os.File) *handover {
	h := &handover{}
	if device == nil && file == nil {
		return h
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	left := &connection{device: device, file: file}
	h.mu.left = left
	rest, err := left.begin()
	if err == nil && rest <= 0 {
		err = fmt.Errorf("it was not served for %v", patience-rest)
	}
	if err != nil {
		h.refuseLocked(ctx, err)
		return h
	}
	left.late = time.AfterFunc(rest, func() { h.refuse(ctx, fmt.Errorf("it was not served for %v", patience)) })
	return h
}

// begin reads the terms of c and returns how much longer its readers wait.
func (c *connection) begin() (rest time.Duration, err error) {
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
	return patience - (now - c.terms.Waiting), nil
}

// expected reports whether an earlier process left a connection, and so trees
// that are mounted.
func (h *handover) expected() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.left != nil
}

// open returns the file system of opts: on the connection that was left, if
// there is one that can be had, otherwise on one of its own. Either is kept
// for the next process.
func (h *handover) open(ctx context.Context, opts fs.Options) (*fs.FileSystem, error) {
	if left := h.take(ctx, opts); left != nil {
		trees, err := left.takeOver(ctx, opts)
		if err == nil {
			h.prove(ctx, nil)
			return trees, nil
		}
		drop(ctx, err)
	}
	trees, err := fs.New(ctx, opts)
	if err != nil {
		return nil, err
	}
	h.prove(ctx, offer(trees, opts.Root))
	return trees, nil
}

// take returns the connection that was left if opts agree to its terms. It is
// the caller's from then on.
func (h *handover) take(ctx context.Context, opts fs.Options) *connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := h.mu.left
	if left == nil {
		return nil
	}
	err := left.terms.differ(opts.Root, opts.Driver)
	if err == nil {
		err = left.alive()
	}
	if err != nil {
		h.refuseLocked(ctx, err)
		return nil
	}
	left.late.Stop()
	h.mu.left = nil
	return left
}

// alive returns an error if the kernel has ended c (fs/fuse/dev.c,
// fuse_dev_poll).
func (c *connection) alive() error {
	events, err := polled(c.device)
	if err == nil && events&unix.POLLERR != 0 {
		err = errors.New("it was aborted")
	}
	return err
}

// takeOver serves c. Its descriptors are not the caller's any more.
func (c *connection) takeOver(ctx context.Context, opts fs.Options) (*fs.FileSystem, error) {
	defer c.file.Close()
	opts.Driver = c.terms.Driver
	opts.Takeover = &fs.Connection{Device: c.device, Init: c.terms.Init}
	trees, err := fs.New(ctx, opts)
	if err != nil {
		return nil, err
	}
	entry := log.G(ctx)
	if now, err := sinceBoot(); err == nil {
		entry = entry.WithField("waited", now-c.terms.Waiting)
	}
	entry.Info("mounts of the process before are taken over")
	c.terms.Waiting = 0
	if err := c.terms.write(c.file); err != nil {
		log.G(ctx).WithError(err).Warn("readers will not wait for the next process")
	}
	return trees, nil
}

// refuse ends the connection that was left, if it is still there.
func (h *handover) refuse(ctx context.Context, why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuseLocked(ctx, why)
}

func (h *handover) refuseLocked(ctx context.Context, why error) {
	left := h.mu.left
	if left == nil {
		return
	}
	h.mu.left = nil
	if left.late != nil {
		left.late.Stop()
	}
	for _, f := range []*os.File{left.device, left.file} {
		if f != nil {
			f.Close() // a copy of what systemd has
		}
	}
	drop(ctx, why)
}

// drop makes systemd close a connection, which has no other holder by now. So
// the kernel ends it.
func drop(ctx context.Context, why error) {
	log.G(ctx).WithError(why).
		Error("mounts of the process before are not taken over: containers that use them get I/O errors for what they have not read")
	if err := forget(deviceName, termsName); err != nil {
		log.G(ctx).WithError(err).Error("systemd cannot be told to drop the connection")
	}
}

// offer gives the connection of trees to systemd, with its terms.
func offer(trees *fs.FileSystem, root string) error {
	conn, err := trees.Connection()
	if err != nil {
		return err
	}
	file, err := newTerms(terms{Format: fs.ConnectionFormat, Root: root, Driver: trees.Driver(), Init: conn.Init})
	if err != nil {
		return err
	}
	defer file.Close()
	if err := keep(termsName, file); err != nil {
		return err
	}
	return keep(deviceName, conn.Device)
}

// prove asks for a proof that the connection is kept, unless err says that it
// is not.
func (h *handover) prove(ctx context.Context, err error) {
	if err == nil {
		h.proof, err = newProof()
	}
	if err != nil && !errors.Is(err, errNoStore) {
		log.G(ctx).WithError(err).Warn("mounts will not outlive this process")
	}
}

// kept reports whether the next process can have a connection: ours, or that
// which an earlier process left and we did not come to take over.
func (h *handover) kept() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.left != nil || h.proof.holds()
}

// withdraw keeps the next process from having one.
func (h *handover) withdraw() error { return forget(deviceName, termsName, proofName) }
