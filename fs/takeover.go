package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ConnectionFormat is raised when node ids or the terms of a connection
// (serverOptions) change their meaning: only a process with the same format can
// take a connection over.
const ConnectionFormat = 1

// Connection is what it takes to serve a FUSE mount that another process made.
type Connection struct {
	Device *os.File // of /dev/fuse
	Init   []byte   // the INIT request with which the kernel began
}

const (
	opInit       = 26 // FUSE_INIT, include/uapi/linux/fuse.h
	notifyResend = 7  // FUSE_NOTIFY_RESEND, Linux 6.9

	// restoreWait is how long, after a takeover, requests for a layer wait
	// for it to be mounted again.
	restoreWait = 30 * time.Second
)

// Connection returns what a successor of this process needs to take the export
// over, once it has begun: Options.Takeover of its FileSystem. The descriptor
// remains the FileSystem's.
//
// Give it early to a process that outlives this one: the service manager, or
// a keeper of our own. Then this process may end at any time, without Close.
// Requests of the kernel wait meanwhile, also those that this process had
// read and not answered, and the successor gets them all.
//
// Whoever keeps the descriptor must not touch the mount, have no file on it
// open, and either start a successor within a bounded time or close the
// descriptor, on which all that wait get errors: a process that waits for a
// connection nobody serves may hold locks that others wait for.
func (f *FileSystem) Connection() (Connection, error) {
	init, err := f.conn.savedInit()
	return Connection{f.conn.device, init}, err
}

// savedInit returns the INIT request of the kernel, but for what no server
// looks at.
func (c *connection) savedInit() ([]byte, error) {
	in := *c.server.KernelSettings()
	in.InHeader = fuse.InHeader{Length: uint32(binary.Size(in)), Opcode: opInit, Unique: 2}
	return binary.Append(nil, binary.NativeEndian, in)
}

// takeOver serves e on a connection that another process served. The
// descriptor is its own from then on, also if it fails. If the kernel cannot
// resend requests it aborts the connection: who waits for an answer would wait
// for ever.
func takeOver(e *export, dir string, from Connection) (*connection, error) {
	c := &connection{dir: dir, device: from.Device, served: make(chan struct{})}
	if err := c.reserve(e, from.Init); err != nil {
		return nil, errors.Join(fmt.Errorf("take over: %w", err), c.device.Close())
	}
	if err := c.resend(); err != nil {
		return nil, errors.Join(fmt.Errorf("take over: %w", err), c.close(e.lifetime))
	}
	return c, nil
}

// reserve begins to serve. go-fuse wants to read an INIT request, which this
// connection has behind it. So it begins on a socket that has one, and then
// finds the connection in its place.
func (c *connection) reserve(e *export, init []byte) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[1])
	if _, err := unix.Write(pair[1], init); err != nil {
		unix.Close(pair[0])
		return err
	}
	c.server, err = fuse.NewServer(newRequests(e), fmt.Sprintf("/dev/fd/%d", pair[0]), serverOptions(e))
	if err != nil {
		return err
	}
	if err := unix.Dup3(int(c.device.Fd()), pair[0], unix.O_CLOEXEC); err != nil {
		return err
	}
	c.goServe()
	return nil
}

// resend asks the kernel to send again what was read and not answered.
func (c *connection) resend() error {
	out := fuse.OutHeader{Length: uint32(binary.Size(fuse.OutHeader{})), Status: notifyResend}
	b, err := binary.Append(nil, binary.NativeEndian, out)
	if err != nil {
		return err
	}
	if _, err := unix.Write(int(c.device.Fd()), b); err != nil {
		return fmt.Errorf("resend: %w", err)
	}
	return nil
}

// soon returns what find finds in e. After a takeover it waits a while for it
// to be there: the kernel asks for layers that are not yet mounted again. find
// is called with e.mu held.
func soon[T any](ctx context.Context, e *export, find func() *T) *T {
	for {
		e.mu.RLock()
		found, added := find(), e.mu.added
		e.mu.RUnlock()
		if found != nil || e.restoring.Err() != nil {
			return found
		}
		select {
		case <-added:
		case <-ctx.Done():
			return nil
		case <-e.restoring.Done():
		}
	}
}
