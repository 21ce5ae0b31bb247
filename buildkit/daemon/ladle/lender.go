package ladle

import (
	"context"
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

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
)

const (
	// credentialsLabel offers credentials for the layer of a Prepare: its value
	// is a socket.
	credentialsLabel = "containerd.io/snapshot/ladle.credentials"

	// lenderDir is the directory of the socket, in that of BuildKit's state, and
	// socketName the socket in it.
	lenderDir  = "ladle"
	socketName = "credentials.ladle"

	// sessionTimeout bounds the answer of one client, as BuildKit itself does
	// (session.Manager.Any).
	sessionTimeout = 5 * time.Second

	// maxAdmissions bounds the builds that are remembered of one repository.
	maxAdmissions = 64

	// maxImages bounds the images that are named for one blob.
	maxImages = 8
)

// Lender lends ladle the registry credentials of the clients of builds: it
// serves the protocol of ladle's package auth. It may be used concurrently.
type Lender struct {
	sessions *session.Manager
	socket   string
	server   *http.Server

	mu struct {
		sync.Mutex
		// admitted is by repository, the newest first. To look into a group
		// takes BuildKit's locks, which are not held by who calls.
		admitted map[string][]admission
	}
}

// Image is what clients were let read.
type Image struct {
	Ref        string   // "docker.io/library/debian:12"
	Repository string   // "docker.io/library/debian"
	Blobs      []string // digests of its layers
}

// admission says that the registry let clients read the manifest of an image.
// When their build has ended, the group has no sessions.
type admission struct {
	Image
	clients session.Group
}

func (a admission) over() bool {
	i := a.clients.SessionIterator()
	return i == nil || i.NextSession() == ""
}

// Lend starts a lender for the clients of sessions. Its socket is at the same
// place below dir each time, in a directory that only its owner can enter.
func Lend(ctx context.Context, sessions *session.Manager, dir string) (*Lender, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("ladle: %w", err)
	}
	dir = filepath.Join(dir, lenderDir)
	l := &Lender{sessions: sessions, socket: filepath.Join(dir, socketName)}
	l.mu.admitted = map[string][]admission{}
	listener, err := l.listen(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("ladle: lend credentials: %w", err)
	}
	l.server = &http.Server{Handler: l, ReadTimeout: sessionTimeout, MaxHeaderBytes: 64 << 10}
	go func() {
		if err := l.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			bklog.G(ctx).WithError(err).Error("ladle: credentials are no longer lent")
		}
	}()
	return l, nil
}

// listen makes the directory anew, since a process that was killed leaves it.
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

// Close ends the lender and removes its directory.
func (l *Lender) Close() error {
	return errors.Join(l.server.Close(), os.RemoveAll(filepath.Dir(l.socket)))
}

// Admit says that the registry let the clients g read the manifest of an image.
func (l *Lender) Admit(image Image, g session.Group) {
	if g == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for repository, all := range l.mu.admitted {
		// Also those of other repositories: BuildKit's groups hold much of a
		// build that ended.
		all = slices.DeleteFunc(all, func(a admission) bool { return a.over() || a.clients == g && a.Ref == image.Ref })
		if l.mu.admitted[repository] = all; len(all) == 0 {
			delete(l.mu.admitted, repository)
		}
	}
	all := slices.Insert(l.mu.admitted[image.Repository], 0, admission{image, g})
	l.mu.admitted[image.Repository] = all[:min(len(all), maxAdmissions)]
}

// clients returns the sessions of the clients admitted to repository that are
// there.
func (l *Lender) clients(ctx context.Context, repository string) (there []session.Caller) {
	l.mu.Lock()
	all := slices.Clone(l.mu.admitted[repository])
	l.mu.Unlock()
	seen := map[string]bool{}
	for _, a := range all {
		for _, id := range session.AllSessionIDs(a.clients) {
			if seen[id] {
				continue
			}
			seen[id] = true
			if c, err := l.sessions.Get(ctx, id, true); err == nil && c != nil && c.Context().Err() == nil {
				there = append(there, c)
			}
		}
	}
	return there
}

// images returns the references of some images that have a blob and that somebody
// was let read who is there.
func (l *Lender) images(blob string) (refs []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, all := range l.mu.admitted {
		for _, a := range all {
			if slices.Contains(a.Blobs, blob) && !a.over() {
				refs = append(refs, a.Ref)
			}
		}
	}
	slices.Sort(refs)
	refs = slices.Compact(refs)
	return refs[:min(len(refs), maxImages)]
}

// credentials is an answer.
type credentials struct {
	Username string `json:"username,omitempty"`
	Secret   string `json:"secret,omitempty"`
}

// errNobody says that no client is there that may be asked.
var errNobody = errors.New("no build is running that was let read the image")

// ask returns what the first client has that has something for host. If some
// have nothing and others fail, there is nothing.
func (l *Lender) ask(ctx context.Context, host, repository string) (found credentials, err error) {
	err = errNobody
	empty := false
	for _, client := range l.clients(ctx, repository) {
		found, failed := ask(ctx, client, host)
		switch {
		case errors.Is(failed, errNobody):
		case failed != nil:
			err = failed
		case found != credentials{}:
			return found, nil
		default:
			empty = true
		}
	}
	if empty {
		err = nil
	}
	return credentials{}, err
}

// ask asks a client. One that knows nothing of credentials has none. That the
// connection is gone is known before the session has ended for BuildKit.
func ask(ctx context.Context, client session.Caller, host string) (credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	got, err := auth.NewAuthClient(client.Conn()).Credentials(ctx, &auth.CredentialsRequest{Host: host})
	switch {
	case grpcerrors.Code(err) == codes.Unimplemented:
		return credentials{}, nil
	case grpcerrors.Code(err) == codes.Unavailable:
		return credentials{}, errNobody
	case err != nil:
		return credentials{}, err
	}
	return credentials{got.Username, got.Secret}, nil
}

// ServeHTTP answers ladle. What went wrong is told here, and there only that it
// did.
func (l *Lender) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	host, repository, blob := query.Get("host"), query.Get("repository"), query.Get("blob")
	var answer any
	var err error
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/credentials" && host != "" && repository != "":
		answer, err = l.ask(r.Context(), host, repository)
	case r.Method == http.MethodGet && r.URL.Path == "/images" && blob != "":
		answer = map[string][]string{"images": l.images(blob)}
	default:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	switch {
	case errors.Is(err, errNobody):
		w.WriteHeader(http.StatusNotFound)
		return
	case err != nil:
		bklog.G(r.Context()).WithError(err).Warnf("ladle: credentials of a client for %s", host)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		bklog.G(r.Context()).WithError(err).Debug("ladle: it does not wait for the answer any more")
	}
}
