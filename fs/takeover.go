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

// ConnectionFormat must be increased when the meaning of node ids or the parameters of a
// connection (serverOptions) change: only a process of the same format can take a
// connection over. Format 1 has connections that the kernel may clone with other owners
// (MountOptions.IDMappedMount) and such that it may not; FileSystem.probeMapping tells.
const ConnectionFormat = 1

// Connection is a FUSE mount of another process, with the information to serve it.
type Connection struct {
	Device *os.File // descriptor of /dev/fuse
	Init   []byte   // the kernel's INIT request
}

const (
	opInit       = 26 // FUSE_INIT, include/uapi/linux/fuse.h
	notifyResend = 7  // FUSE_NOTIFY_RESEND, Linux 6.9

	// restoreWait bounds how long, after a takeover, requests wait for their layer
	// or tree to be mounted again.
	restoreWait = 30 * time.Second
)

// Connection returns the connection for Options.Takeover of a successor of this process.
// The descriptor remains the FileSystem's.
//
// A duplicate should be stored early with a process that outlives this one, such as the
// service manager. Then this process may end at any time without Close. Meanwhile
// requests of the kernel wait, including those that this process read and did not answer,
// and the successor receives them all.
//
// A process that stores the descriptor must not access the mount or have files on it
// open. In bounded time it must start a successor or close the descriptor, which fails
// all waiting requests: a process that waits for an unserved connection can hold locks
// that others wait for.
func (f *FileSystem) Connection() (Connection, error) {
	init, err := f.conn.savedInit()
	return Connection{f.conn.device, init}, err
}

// savedInit returns the kernel's INIT request, without the header fields that servers
// ignore.
func (c *connection) savedInit() ([]byte, error) {
	in := *c.server.KernelSettings()
	in.InHeader = fuse.InHeader{Length: uint32(binary.Size(in)), Opcode: opInit, Unique: 2}
	return binary.Append(nil, binary.NativeEndian, in)
}

// takeOver serves e on the connection of another process. It takes ownership of the
// descriptor, also if it fails. If the kernel cannot resend requests, it aborts the
// connection: processes that wait for an answer would wait forever.
func takeOver(e *export, dir string, from Connection) (*connection, error) {
	c := &connection{dir: dir, device: from.Device, served: make(chan struct{})}
	if err := c.resume(e, from.Init); err != nil {
		return nil, errors.Join(fmt.Errorf("take over: %w", err), c.device.Close())
	}
	if err := c.resend(); err != nil {
		return nil, errors.Join(fmt.Errorf("take over: %w", err), c.close(e.lifetime))
	}
	return c, nil
}

// resume starts a server. go-fuse first reads an INIT request, which this connection has
// already had. So the server starts on a socket that contains one, which is then replaced
// by the connection (dup3).
func (c *connection) resume(e *export, init []byte) error {
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

// resend makes the kernel send requests again that were read and not answered.
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

// findOrWait returns the result of find. While e.restoring lasts after a takeover, it
// waits for find to return something: the layer or tree may not be mounted again yet.
// find is called with e.mu read-locked.
func findOrWait[T any](ctx context.Context, e *export, find func() *T) *T {
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
