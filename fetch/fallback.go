package fetch

import (
	"net/http"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// fallback sends requests for one host by plain HTTP if the host does not speak TLS.
// Requests for other hosts, such as the token server, are sent as their addresses say.
//
// It wraps containerd's fallback, which takes a connection timeout for a host without TLS
// and then uses plain HTTP for ever. After an error by plain HTTP, this one tries TLS
// again.
type fallback struct {
	host string // "name:port"
	tls  http.RoundTripper

	mu struct {
		sync.Mutex
		found http.RoundTripper // containerd's, with the scheme that it found
	}
}

func newFallback(host string, tls http.RoundTripper) *fallback {
	f := &fallback{host: host, tls: tls}
	f.mu.found = docker.NewHTTPFallback(tls)
	return f
}

// RoundTrip implements http.RoundTripper.
func (f *fallback) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != f.host {
		return f.tls.RoundTrip(req)
	}
	f.mu.Lock()
	found := f.mu.found
	f.mu.Unlock()
	resp, err := found.RoundTrip(req)
	if err != nil && req.Context().Err() == nil {
		f.forget(found)
	}
	return resp, err
}

// forget makes the next request determine the scheme again.
func (f *fallback) forget(found http.RoundTripper) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.found == found {
		f.mu.found = docker.NewHTTPFallback(f.tls)
	}
}
