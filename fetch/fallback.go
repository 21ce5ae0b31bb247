package fetch

import (
	"net/http"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// fallback asks one host by plain HTTP if it does not speak TLS. Others, such as
// its token server, are always asked as their addresses say.
//
// containerd's own one, which it stands on, takes a connection that was not made
// in time for a host without TLS, and asks by plain HTTP for ever after that. Here
// TLS is tried again when that fails, too.
type fallback struct {
	host string // "name:port"
	tls  http.RoundTripper

	mu struct {
		sync.Mutex
		found http.RoundTripper // remembers how the host is asked
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

// forget has it found out anew how the host is asked.
func (f *fallback) forget(found http.RoundTripper) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.found == found {
		f.mu.found = docker.NewHTTPFallback(f.tls)
	}
}
