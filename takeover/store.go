package takeover

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names in systemd's store, which earlier and later versions of ladle know.
const (
	deviceName     = "ladle-fuse"      // the FUSE connection
	termsName      = "ladle-terms"     // the memory file of its terms
	proofName      = "ladle-proof"     // one end of a pipe: see proof
	endpointPrefix = "ladle-endpoint-" // and the endpoint's name: its socket
)

// ControlEndpoint is the name under which the socket of the control service is stored. No
// endpoint of a configuration has such a name. To a version without the control service it is
// an endpoint that is not configured any more.
const ControlEndpoint = "_control"

// ImageServiceEndpoint is the same for the socket of the proxy of CRI's image service.
const ImageServiceEndpoint = "_cri"

// errNoStore says that systemd did not start the process, and stores nothing.
var errNoStore = errors.New("not started by systemd")

// descriptorStore is the store of descriptors that systemd has for the service.
type descriptorStore struct {
	socket string // NOTIFY_SOCKET, or empty
}

// add puts a copy of the descriptor of d into the store under name
// (sd_pid_notify_with_fds(3), FDSTORE=1). A descriptor that is in the store
// already is not added again. systemd drops one that polls as hung up or broken.
// The error is errNoStore if there is no store; that it is full is no error: see
// proof.
func (s descriptorStore) add(name string, d syscall.Conn) error {
	if s.socket == "" {
		return errNoStore
	}
	conn, err := d.SyscallConn()
	if err != nil {
		return fmt.Errorf("store %s with systemd: %w", name, err)
	}
	called := conn.Control(func(fd uintptr) { err = s.send("FDSTORE=1\nFDNAME="+name, int(fd)) })
	if err := errors.Join(called, err); err != nil {
		return fmt.Errorf("store %s with systemd: %w", name, err)
	}
	return nil
}

// remove makes systemd close all descriptors that it has under names. Without a
// store it does nothing.
func (s descriptorStore) remove(names ...string) error {
	if s.socket == "" {
		return nil
	}
	var errs []error
	for _, name := range names {
		if err := s.send("FDSTOREREMOVE=1\nFDNAME=" + name); err != nil {
			errs = append(errs, fmt.Errorf("remove %s from systemd's store: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// send sends a notification with descriptors to systemd.
func (s descriptorStore) send(state string, fds ...int) error {
	from, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(from)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	err = unix.Sendmsg(from, []byte(state), rights, &unix.SockaddrUnix{Name: s.socket}, 0)
	return os.NewSyscallError("sendmsg", err)
}
