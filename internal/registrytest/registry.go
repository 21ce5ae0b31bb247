package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Options say what kind of registry it is. The zero value is plain HTTP, open
// to everybody, with the blobs on the registry itself.
type Options struct {
	TLS       bool           // serve HTTPS with the certificate of CertPEM
	ClientCAs *x509.CertPool // demand client certificates signed by these; implies TLS
	Token     bool           // demand a bearer token of the token server
	Basic     bool           // demand User and Password in each request
	User      string         // who gets a token; everybody if empty
	Password  string
	TokenTTL  int  // seconds that a token lives; 0: the token server says nothing
	Redirect  bool // answer requests for blobs with 307 to the storage
	Referer   bool // the storage answers only who names the registry in a Referer header
	Referrers bool // it has the referrers API
}

// Registry is a registry in memory. It may be used concurrently.
type Registry struct {
	opts    Options
	front   *httptest.Server // registry and token server
	storage *httptest.Server
	closing chan struct{}

	// mu guards what follows. It is not held while a request is answered.
	mu struct {
		sync.Mutex
		blobs     map[digest.Digest][]byte
		manifests map[string]manifest // by digest and by "repository:tag"
		fault     func(Request) Fault
		log       []Request
		sent      int64 // bytes of blobs
		epoch     int   // tokens and signatures of earlier epochs are refused

		user, password string // Options.User and Options.Password, until SetLogin
	}
}

type manifest struct {
	mediaType string
	body      []byte
}

// New starts a registry that ends with the test.
func New(t testing.TB, opts Options) *Registry {
	t.Helper()
	r := &Registry{opts: opts, closing: make(chan struct{})}
	r.mu.blobs = map[digest.Digest][]byte{}
	r.mu.manifests = map[string]manifest{}
	r.mu.user, r.mu.password = opts.User, opts.Password
	r.front = r.start(http.HandlerFunc(r.serveFront))
	r.storage = r.start(http.HandlerFunc(r.serveStorage))
	t.Cleanup(r.close)
	return r
}

func (r *Registry) start(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are on purpose
	if r.opts.ClientCAs != nil {
		s.TLS = &tls.Config{ClientCAs: r.opts.ClientCAs, ClientAuth: tls.RequireAndVerifyClientCert}
	}
	if r.opts.TLS || r.opts.ClientCAs != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	return s
}

func (r *Registry) close() {
	close(r.closing)
	for _, s := range []*httptest.Server{r.front, r.storage} {
		s.CloseClientConnections()
		s.Close()
	}
}

// Close ends the registry before the test does: connections are refused from
// now on. A closed registry stays closed.
func (r *Registry) Close() {
	r.front.Listener.Close()
	r.storage.Listener.Close()
	r.front.CloseClientConnections()
	r.storage.CloseClientConnections()
}

// Host returns the registry's address, "127.0.0.1:port".
func (r *Registry) Host() string { return r.front.Listener.Addr().String() }

// Ref returns the image reference of "repository:tag" or "repository@digest"
// on this registry.
func (r *Registry) Ref(name string) string { return r.Host() + "/" + name }

// CertPEM returns the certificate of the registry and its storage, which is
// its own authority.
func (r *Registry) CertPEM() []byte { return pemOf(r.front.Certificate().Raw) }

// AddBlob makes b a blob.
func (r *Registry) AddBlob(b []byte) digest.Digest {
	d := digest.FromBytes(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.blobs[d] = b
	return d
}

// AddManifest makes b a manifest, which name, "repository:tag", stands for.
func (r *Registry) AddManifest(name, mediaType string, b []byte) digest.Digest {
	d := digest.FromBytes(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.manifests[name] = manifest{mediaType, b}
	r.mu.manifests[d.String()] = manifest{mediaType, b}
	return d
}

// Blobs returns the digests of all blobs, sorted.
func (r *Registry) Blobs() []digest.Digest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.mu.blobs))
}

// SetFault makes f decide what goes wrong with each request from now on; nil
// means nothing. f may be called concurrently and may block, which delays the
// request.
func (r *Registry) SetFault(f func(Request) Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.fault = f
}

// Expire makes all tokens and signatures that were given out invalid.
func (r *Registry) Expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.epoch++
}

// Log returns all requests since the start or the last Reset, in the order in
// which they came.
func (r *Registry) Log() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mu.log)
}

// Count returns how many requests of these kinds came; of all, if none is given.
func (r *Registry) Count(kinds ...Kind) int {
	n := 0
	for _, q := range r.Log() {
		if len(kinds) == 0 || slices.Contains(kinds, q.Kind) {
			n++
		}
	}
	return n
}

// Generations returns the highest generation of the requests in the log.
func (r *Registry) Generations() int {
	g := 0
	for _, q := range r.Log() {
		g = max(g, q.Generation)
	}
	return g
}

// Sent returns how many bytes of blobs were sent.
func (r *Registry) Sent() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.sent
}

// Reset empties the log and the count of bytes.
func (r *Registry) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.log, r.mu.sent = nil, 0
}

// record logs q and asks what goes wrong with it.
func (r *Registry) record(q Request) Fault {
	r.mu.Lock()
	for _, p := range r.mu.log {
		if p.Kind == q.Kind {
			q.Nth++
		}
	}
	r.mu.log = append(r.mu.log, q)
	fault := r.mu.fault
	r.mu.Unlock()
	if fault == nil {
		return Fault{}
	}
	return fault(q)
}

func (r *Registry) blob(d string) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.mu.blobs[digest.Digest(d)]
	return b, ok
}

func (r *Registry) manifest(repo, name string) (manifest, bool) {
	if !strings.Contains(name, ":") {
		name = repo + ":" + name
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.mu.manifests[name]
	return m, ok
}
