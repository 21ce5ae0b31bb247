package porttest

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Keep returns a free port of the loopback device as host:port, and a file that keeps
// it until it is closed, or is garbage. The kernel gives the port to nobody, and
// refuses connections, but whoever names it can listen on it (SO_REUSEADDR, which
// package net sets; the port is bound here, and nobody listens).
func Keep() (address string, port *os.File, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("porttest: %w", os.NewSyscallError("socket", err))
	}
	number, err := bind(fd)
	if err != nil {
		unix.Close(fd)
		return "", nil, fmt.Errorf("porttest: %w", err)
	}
	return "127.0.0.1:" + strconv.Itoa(number), os.NewFile(uintptr(fd), "port"), nil
}

// bind binds the socket to a free port.
func bind(fd int) (number int, err error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return bound.(*unix.SockaddrInet4).Port, nil
}
