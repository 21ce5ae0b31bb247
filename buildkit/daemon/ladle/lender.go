package ladle

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/buildkit/util/resolver/config"
)

const (
	// credentialsLabel offers credentials for the layer of a Prepare: its value
	// is the path of the lender's socket.
	credentialsLabel = "containerd.io/snapshot/ladle.credentials"

	// lenderDir is the directory of the socket, below BuildKit's root, and
	// socketName the name of the socket.
	lenderDir  = "ladle"
	socketName = "credentials.ladle"

	// sessionTimeout bounds the answer of one client; it is that of BuildKit
	// (session.Manager.Any).
	sessionTimeout = 5 * time.Second
)

// LenderOptions configure a Lender.
type LenderOptions struct {
	Dir        string // BuildKit's root; the socket is below it
	Sessions   *session.Manager
	Registries map[string]config.RegistryConfig // of BuildKit's configuration; nil: none
}

// Lender answers ladle's requests for credentials of the clients of builds, and for
// BuildKit's settings for registries. It serves the protocol in docs/protocol.md, "Lent
// credentials". It may be used concurrently.
type Lender struct {
	sessions   *session.Manager
	registries map[string]config.RegistryConfig
	hosts      docker.RegistryHosts // BuildKit's
	salt       []byte               // random, for keys of clients: see authority
	socket     string
	server     *http.Server

	mu struct {
		sync.Mutex
		// admitted is by repository, the newest first. A session.Group locks
		// mutexes of BuildKit, which callers of the Lender must not hold.
		admitted map[string][]admission
	}
}

// Lend starts a Lender. Its socket has the same path below o.Dir each time, in a
// directory with mode 0700.
func Lend(ctx context.Context, o LenderOptions) (*Lender, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("ladle: %w", err)
	}
	dir = filepath.Join(dir, lenderDir)
	l := &Lender{
		sessions: o.Sessions, registries: o.Registries, hosts: resolver.NewRegistryConfig(o.Registries),
		salt: make([]byte, 32), socket: filepath.Join(dir, socketName),
	}
	rand.Read(l.salt) // never fails
	l.mu.admitted = map[string][]admission{}
	listener, err := l.listen(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("ladle: lend credentials: %w", err)
	}
	l.server = &http.Server{Handler: l, ReadTimeout: sessionTimeout, MaxHeaderBytes: 64 << 10}
	go func() {
		if err := l.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			bklog.G(ctx).WithError(err).Error("ladle: lender stopped: credentials and registry settings are unavailable to ladle")
		}
	}()
	return l, nil
}

// listen recreates the directory, which a killed process leaves behind.
func (l *Lender) listen(ctx context.Context, dir string) (net.Listener, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", l.socket)
	if err == nil {
		err = os.Chmod(l.socket, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return listener, nil
}

// Close stops the Lender and removes its directory.
func (l *Lender) Close() error {
	return errors.Join(l.server.Close(), os.RemoveAll(filepath.Dir(l.socket)))
}

// ServeHTTP answers ladle. An error is logged here; ladle gets only a status.
func (l *Lender) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := l.answer(r)
	switch {
	case errors.Is(err, errUnknown):
		w.WriteHeader(http.StatusBadRequest)
		return
	case errors.Is(err, errNobody):
		w.WriteHeader(http.StatusNotFound)
		return
	case err != nil:
		bklog.G(r.Context()).WithError(err).WithField("request", r.URL.Path).Warn("ladle: lender failed to answer")
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		bklog.G(r.Context()).WithError(err).Debug("ladle: lender could not send its answer")
	}
}

// errUnknown is the error of a request that the lender does not know.
var errUnknown = errors.New("unknown request")

// answer returns the value of the JSON answer.
func (l *Lender) answer(r *http.Request) (any, error) {
	query := r.URL.Query()
	asked := func(names ...string) bool {
		return r.Method == http.MethodGet && !slices.ContainsFunc(names, func(name string) bool { return query.Get(name) == "" })
	}
	q := challenge{
		host: query.Get("host"), repository: query.Get("repository"),
		realm: query.Get("realm"), service: query.Get("service"), scopes: query["scope"],
	}
	switch {
	case r.URL.Path == "/credentials" && asked("host", "repository"):
		q.realm = ""
		return l.ask(r.Context(), q)
	case r.URL.Path == "/token" && asked("host", "repository", "realm"):
		return l.ask(r.Context(), q)
	case r.URL.Path == "/hosts" && asked("registry"):
		hosts, err := l.hostsOf(query.Get("registry"))
		return map[string][]host{"hosts": hosts}, err
	case r.URL.Path == "/images" && asked("blob"):
		return map[string][]string{"images": l.images(r.Context(), query.Get("blob"))}, nil
	}
	return nil, errUnknown
}
