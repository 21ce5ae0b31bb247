package fetch

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

const (
	// dialTimeout bounds the making of a TCP connection. A lost SYN is sent
	// again after 1, 3 and 7 s.
	dialTimeout = 10 * time.Second

	// idlePerHost is how many connections to one server are kept open: as many
	// as layers are opened at once, so that none needs another handshake.
	idlePerHost = 64
)

// newTransport returns a transport for many ranges at once.
func newTransport(header time.Duration) *http.Transport {
	tr := docker.DefaultHTTPTransport(&tls.Config{})
	tune(tr, header)
	dialWithin(tr, dialTimeout)
	return tr
}

// tune sets tr up for many ranges at once: over HTTP/1.1, since over HTTP/2 Go
// sends all of them through one TCP connection. header bounds how long the
// header of an answer takes to come.
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
	// Not shared among transports: what one of them need not verify must not be
	// resumed by another.
	tr.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(idlePerHost)
}

func dialWithin(tr *http.Transport, timeout time.Duration) {
	tr.DialContext = (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext
}

// headerTimeout turns an option into what http.Transport means.
func headerTimeout(d time.Duration) time.Duration {
	if d == 0 {
		return 30 * time.Second
	}
	return d
}
