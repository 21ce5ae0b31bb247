package takeover

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

// Sockets creates listening unix sockets, or returns those that systemd passed. It is used
// by one goroutine.
type Sockets struct {
	store     descriptorStore
	activated map[string]net.Listener      // of socket units (sd_listen_fds(3)), by path
	inherited map[string]*net.UnixListener // of the predecessor, by endpoint
}

func newSockets(store descriptorStore) *Sockets {
	return &Sockets{store, map[string]net.Listener{}, map[string]*net.UnixListener{}}
}

// receive takes the listening unix socket that systemd has under f.Name, and closes
// f. Other descriptors are closed only: proofs of earlier processes, and what a
// drop-in of the unit may add.
func (s *Sockets) receive(f *os.File) {
	l, err := net.FileListener(f) // a copy of the descriptor
	f.Close()
	if err != nil {
		return
	}
	socket, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return
	}
	if endpoint, ours := strings.CutPrefix(f.Name(), endpointPrefix); ours {
		socket.SetUnlinkOnClose(true)
		s.inherited[endpoint] = socket
		return
	}
	s.activated[l.Addr().String()] = l
}

// Listen returns a listener at path to which users with perm can connect: systemd's,
// if a socket unit has one there, or a new one, in a directory that is made if it is
// not there. A socket on which no process listens is replaced. It is an error if one
// does, or if path is something else. Close removes the path, unless the socket is
// systemd's.
func (s *Sockets) Listen(path string, perm fs.FileMode) (net.Listener, error) {
	if l := s.activated[path]; l != nil {
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
	// no other user than the owner in between.
	if err := os.Chmod(path, perm); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes the socket at path if no process listens on it. It is an
// error if one does, or if path is something else.
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
