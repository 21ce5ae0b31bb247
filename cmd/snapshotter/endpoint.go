package main

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/config"
)

// endpointPrefix and the name of an endpoint make the name under which systemd
// keeps the endpoint's socket. So clients can connect while there is no
// process: their calls wait for the next.
const endpointPrefix = "ladle-endpoint-"

// endpoint returns a listener for e.
func (s sockets) endpoint(ctx context.Context, e config.Endpoint) (net.Listener, error) {
	if l := s.left[e.Name]; l != nil {
		return l, nil
	}
	l, err := s.listen(e.Address, 0o660)
	if err != nil || l == s.inherited[e.Address] {
		return l, err
	}
	err = keep(endpointPrefix+e.Name, l.(*net.UnixListener))
	if err != nil && !errors.Is(err, errNoStore) {
		log.G(ctx).WithError(err).WithField("endpoint", e.Name).Warn("calls will not wait for the next process")
	}
	return l, nil
}

// retain closes the sockets that were left for other endpoints than these, or
// that clients cannot find any more.
func (s sockets) retain(endpoints []config.Endpoint) error {
	wanted := map[string]string{}
	for _, e := range endpoints {
		wanted[e.Name] = e.Address
	}
	var errs []error
	for name, l := range s.left {
		path := l.Addr().String()
		_, err := os.Lstat(path)
		if err == nil && path == wanted[name] {
			continue
		}
		delete(s.left, name)
		errs = append(errs, l.Close(), forget(endpointPrefix+name))
	}
	return errors.Join(errs...)
}

// leave lets the next process have the socket of s: it is not removed when it
// is closed.
func (s *server) leave() {
	if socket, ok := s.listener.(*net.UnixListener); ok {
		socket.SetUnlinkOnClose(false)
	}
}
