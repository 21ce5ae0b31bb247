package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// sockets makes listening unix sockets, or has them from systemd.
type sockets struct {
	inherited map[string]net.Listener // by path
}

// inheritedSockets takes the sockets over that systemd passed, if any
// (sd_listen_fds(3)).
func inheritedSockets() (sockets, error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return sockets{}, fmt.Errorf("sockets from systemd: %w", err)
	}
	s := sockets{map[string]net.Listener{}}
	for _, l := range listeners {
		if l != nil && l.Addr().Network() == "unix" {
			s.inherited[l.Addr().String()] = l
		}
	}
	return s, nil
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
