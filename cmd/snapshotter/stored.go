package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// errNoStore says that nobody is there to keep descriptors.
var errNoStore = errors.New("not started by systemd")

// keep gives a copy of a descriptor to systemd, which passes it on to the next process of
// the service, under name (sd_pid_notify_with_fds(3), FDSTORE=1). What it
// already has it does not take twice. It lets go of a descriptor that polls as
// hung up or broken. Whether it has room is not known: see proof.
func keep(name string, of syscall.Conn) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return errNoStore
	}
	conn, err := of.SyscallConn()
	if err != nil {
		return fmt.Errorf("give %s to systemd: %w", name, err)
	}
	sent := conn.Control(func(fd uintptr) { err = send(socket, "FDSTORE=1\nFDNAME="+name, int(fd)) })
	if err := errors.Join(sent, err); err != nil {
		return fmt.Errorf("give %s to systemd: %w", name, err)
	}
	return nil
}

// send sends state and a descriptor to socket.
func send(socket, state string, fd int) error {
	from, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(from)
	return unix.Sendmsg(from, []byte(state), unix.UnixRights(fd), &unix.SockaddrUnix{Name: socket}, 0)
}

// forget makes systemd close what it keeps under names.
func forget(names ...string) error {
	var errs []error
	for _, name := range names {
		if _, err := systemd.SdNotify(false, "FDSTOREREMOVE=1\nFDNAME="+name); err != nil {
			errs = append(errs, fmt.Errorf("take %s from systemd: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// proof tells whether systemd keeps descriptors. It says nothing when it has
// no room (FileDescriptorStoreMax, zero for a unit that does not set it) and
// closes what it got. So it gets one end of a pipe after all else, and we
// watch the other.
type proof struct{ end *os.File }

func newProof() (proof, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return proof{}, err
	}
	if err := errors.Join(keep(proofName, theirs), theirs.Close()); err != nil {
		return proof{}, errors.Join(err, ours.Close())
	}
	return proof{ours}, nil
}

// holds is true while systemd has all that was given to it before the proof.
func (p proof) holds() bool {
	if p.end == nil {
		return false
	}
	events, err := polled(p.end)
	return err == nil && events&unix.POLLHUP == 0
}

// polled returns what poll(2) says of f, of which POLLHUP and POLLERR are
// always asked.
func polled(f *os.File) (events int16, err error) {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	for {
		_, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return fds[0].Revents, err
		}
	}
}
