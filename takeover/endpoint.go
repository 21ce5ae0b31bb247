package takeover

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"

	"github.com/containerd/log"
)

// Endpoint returns a listener at path for the endpoint name, to which users of the
// socket's owner and group can connect: the listener that the predecessor left, or one
// that Listen returns, which is stored for the successor unless a socket unit made it.
// Clients can connect from then on, and wait until they are accepted. A failure to store
// the socket is logged. Retain is called before.
func (s *Sockets) Endpoint(ctx context.Context, name, path string) (net.Listener, error) {
	return s.listenStored(ctx, name, path, 0o660)
}

// Control is Endpoint for the control service, to which only the socket's owner can connect.
// Retain and Withdraw know it as ControlEndpoint.
func (s *Sockets) Control(ctx context.Context, path string) (net.Listener, error) {
	return s.listenStored(ctx, ControlEndpoint, path, 0o600)
}

// ImageService is Control for the proxy of CRI's image service. Retain and Withdraw know it as
// ImageServiceEndpoint.
func (s *Sockets) ImageService(ctx context.Context, path string) (net.Listener, error) {
	return s.listenStored(ctx, ImageServiceEndpoint, path, 0o600)
}

func (s *Sockets) listenStored(ctx context.Context, name, path string, perm fs.FileMode) (net.Listener, error) {
	if l := s.inherited[name]; l != nil {
		return l, nil
	}
	l, err := s.Listen(path, perm)
	if err != nil || l == s.activated[path] {
		return l, err
	}
	err = s.store.add(endpointPrefix+name, l.(*net.UnixListener))
	if err != nil && !errors.Is(err, errNoStore) {
		log.G(ctx).WithError(err).WithField("endpoint", name).Warn("calls will not wait for the next process")
	}
	return l, nil
}

// Retain closes inherited sockets that are not in paths, by name of the endpoint, and
// inherited sockets with a path that does not exist any more, so that no client can connect.
// It removes both from systemd's store.
func (s *Sockets) Retain(paths map[string]string) error {
	var errs []error
	for name, l := range s.inherited {
		path := l.Addr().String()
		_, err := os.Lstat(path)
		if err == nil && path == paths[name] {
			continue
		}
		delete(s.inherited, name)
		errs = append(errs, l.Close(), s.Withdraw(name))
	}
	return errors.Join(errs...)
}

// Withdraw removes the socket of an endpoint from systemd's store: the successor
// makes one of its own.
func (s *Sockets) Withdraw(endpoint string) error { return s.store.remove(endpointPrefix + endpoint) }

// Leave keeps the path of l, a listener of Endpoint, for the successor: closing l does not
// remove it.
func Leave(l net.Listener) {
	if socket, ok := l.(*net.UnixListener); ok {
		socket.SetUnlinkOnClose(false)
	}
}
