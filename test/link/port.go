package link

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepPort returns a free port of the loopback device as host:port, and a file that
// keeps it until it is closed, or is garbage: the kernel gives the port to nobody, and
// refuses connections, but whoever names it can listen on it (SO_REUSEADDR, which
// package net sets; the port is bound here, and nobody listens).
func keepPort() (address string, port *os.File, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	port = os.NewFile(uintptr(fd), "port")
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		port.Close()
		return "", nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		port.Close()
		return "", nil, os.NewSyscallError("bind", err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		port.Close()
		return "", nil, os.NewSyscallError("getsockname", err)
	}
	return "127.0.0.1:" + strconv.Itoa(bound.(*unix.SockaddrInet4).Port), port, nil
}
