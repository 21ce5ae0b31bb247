package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// sockets makes listening unix sockets, or has them from systemd.
type sockets struct {
	inherited map[string]net.Listener      // systemd's own, by path
	left      map[string]*net.UnixListener // of an earlier process, by endpoint
}

// add adds a listener that systemd has under name.
func (s sockets) add(name string, l net.Listener) {
	socket, ok := l.(*net.UnixListener)
	if !ok {
		return
	}
	if endpoint, ours := strings.CutPrefix(name, endpointPrefix); ours {
		socket.SetUnlinkOnClose(true)
		s.left[endpoint] = socket
		return
	}
	s.inherited[l.Addr().String()] = l
}

// listen returns a listener at path that users with perm can connect to. A
// socket that nobody listens on is replaced.
func (s sockets) listen(path string, perm fs.FileMode) (net.Listener, error) {
	if l := s.inherited[path]; l != nil {
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// To connect takes write permission, which the usual umask grants to
	// nobody but the owner in between.
	if err := os.Chmod(path, perm); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes the socket at path if nobody listens on it. It is an
// error if somebody does, or if path is something else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("%s: another process listens there", path), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
