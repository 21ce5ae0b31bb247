package fetch

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

const (
	// dialTimeout bounds connect(2). A lost SYN is retransmitted after 1, 3 and 7 s.
	dialTimeout = 10 * time.Second

	// idlePerHost bounds the idle connections to one server: as many as layers are
	// opened concurrently, so that none needs another handshake.
	idlePerHost = 64
)

// newTransport returns a transport for many concurrent ranges.
func newTransport(header time.Duration) *http.Transport {
	tr := docker.DefaultHTTPTransport(&tls.Config{})
	tune(tr, header)
	dialWithin(tr, dialTimeout)
	return tr
}

// tune configures tr for many concurrent ranges: over HTTP/1.1, since over HTTP/2 Go
// sends all of them through one TCP connection. header bounds the time until the header
// of an answer.
func tune(tr *http.Transport, header time.Duration) {
	tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{} // no HTTP/2
	tr.MaxIdleConns = 0
	tr.MaxIdleConnsPerHost = idlePerHost
	tr.IdleConnTimeout = 90 * time.Second
	tr.TLSHandshakeTimeout = 10 * time.Second
	tr.ResponseHeaderTimeout = header
	tr.ReadBufferSize = 32 << 10
	tr.DisableCompression = true
	if tr.TLSClientConfig == nil {
		tr.TLSClientConfig = &tls.Config{}
	}
	// Not shared with other transports: a session that one of them did not verify must
	// not be resumed by another.
	tr.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(idlePerHost)
}

func dialWithin(tr *http.Transport, timeout time.Duration) {
	tr.DialContext = (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext
}

// headerTimeout returns the ResponseHeaderTimeout for an option, with its default.
func headerTimeout(d time.Duration) time.Duration {
	if d <= 0 {
		return 30 * time.Second
	}
	return d
}
