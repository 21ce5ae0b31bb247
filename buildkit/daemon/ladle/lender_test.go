package ladle

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/testutil"
	"github.com/moby/buildkit/util/resolver/config"
	"google.golang.org/grpc"
)

// client is a build's client: it has credentials for every host, or fails.
type client struct {
	auth.UnimplementedAuthServer
	user, secret string
	err          error
	asked        atomic.Int64
}

func (c *client) Register(s *grpc.Server) { auth.RegisterAuthServer(s, c) }

func (c *client) Credentials(_ context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	c.asked.Add(1)
	if c.user == "" {
		return &auth.CredentialsResponse{Secret: c.secret}, c.err
	}
	return &auth.CredentialsResponse{Username: c.user + "@" + r.Host, Secret: c.secret}, c.err
}

// silent is a client that knows nothing of credentials.
type silent struct{}

func (silent) Register(*grpc.Server) {}

// office is a lender and BuildKit's sessions.
type office struct {
	*Lender
	sessions *session.Manager
}

func newOffice(t *testing.T, registries map[string]config.RegistryConfig) office {
	t.Helper()
	sessions, err := session.NewManager()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lender-") // short, for the address of a socket
	if err != nil {
		t.Fatal(err)
	}
	l, err := Lend(t.Context(), LenderOptions{Dir: dir, Sessions: sessions, Registries: registries})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(dir); err != nil { // nothing is left in it
			t.Error(err)
		}
	})
	return office{l, sessions}
}

// connect starts the session of a client.
func (o office) connect(t *testing.T, c session.Attachable) (s *session.Session) {
	t.Helper()
	s, err := session.NewSession(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Allow(c)
	ended := make(chan error, 1)
	dialer := session.Dialer(testutil.TestStream(testutil.Handler(o.sessions.HandleConn)))
	go func() { ended <- s.Run(context.WithoutCancel(t.Context()), dialer) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-ended); err != nil {
			t.Error(err)
		}
	})
	if _, err := o.sessions.Get(t.Context(), s.ID(), false); err != nil {
		t.Fatal(err)
	}
	return s
}

// borrow asks over the socket.
func (o office) borrow(t *testing.T, path string) (status int, got credentials) {
	t.Helper()
	status = o.get(t, path, &got)
	return status, got
}

// get puts the answer to a question into *to.
func (o office) get(t *testing.T, path string, to any) (status int) {
	t.Helper()
	h := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", o.socket)
		},
	}}
	resp, err := h.Get("http://ladle" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, to)
	}
	if err != nil || resp.StatusCode != http.StatusOK && len(text) > 0 {
		t.Errorf("status %d, %q, %v", resp.StatusCode, text, err)
	}
	return resp.StatusCode
}

func question(repository string) string {
	return "/credentials?" + url.Values{"host": {"host:1"}, "repository": {repository}}.Encode()
}

func (o office) wants(t *testing.T, repository string, status int, user, secret string) {
	t.Helper()
	if s, c := o.borrow(t, question(repository)); s != status || c != (credentials{Username: user, Secret: secret}) {
		t.Errorf("%s: status %d, %v; want %d, %q %q", repository, s, c, status, user, secret)
	}
}

// admit admits clients to an image of which the digests of layers are "all" and
// the repository's name.
func (o office) admit(repository string, g session.Group) {
	o.Admit(Image{repository + ":1", repository, []string{"all", repository}}, g)
}

// Only clients that were let read an image are asked for it, all of them.
func TestLenderAsksWhoWasAdmitted(t *testing.T) {
	o := newOffice(t, nil)
	first, second, none := &client{user: "first", secret: "1"}, &client{user: "second", secret: "2"}, &client{}
	identity, broken := &client{secret: "token"}, &client{err: errors.New("keychain is locked")}
	one, two := session.NewGroup(o.connect(t, first).ID()), session.NewGroup(o.connect(t, second).ID())
	empty, failing := session.NewGroup(o.connect(t, none).ID()), session.NewGroup(o.connect(t, broken).ID())
	mute := session.NewGroup(o.connect(t, silent{}).ID())
	o.wants(t, "example/a", 404, "", "")
	o.admit("example/a", nil)
	o.admit("example/a", session.NewGroup())
	o.admit("example/a", session.NewGroup("gone"))
	o.wants(t, "example/a", 404, "", "")
	o.admit("example/a", one)
	o.wants(t, "example/a", 200, "first@host:1", "1")
	o.wants(t, "example/b", 404, "", "")
	o.wants(t, "example", 404, "", "")
	o.admit("example/a", two)
	o.wants(t, "example/a", 200, "second@host:1", "2")
	for _, g := range []session.Group{empty, failing, mute} {
		o.admit("example/a", g)
	}
	o.wants(t, "example/a", 200, "second@host:1", "2")
	o.admit("example/c", session.NewGroup(session.AllSessionIDs(mute)[0], session.AllSessionIDs(empty)[0]))
	o.wants(t, "example/c", 200, "", "")
	o.admit("example/d", failing)
	o.wants(t, "example/d", 502, "", "")
	o.admit("example/d", empty)
	o.wants(t, "example/d", 200, "", "")
	o.admit("example/e", session.NewGroup(o.connect(t, identity).ID()))
	o.wants(t, "example/e", 200, "", "token")
	if n := none.asked.Load(); n == 0 {
		t.Error("a client was not asked")
	}
	for _, path := range []string{"/", "/credentials", "/credentials?host=h", "/credentials?repository=example/a", "/images", "/hosts", "/token?host=h&repository=example/a", "/token?host=h&realm=r", "/other?host=h&repository=example/a"} {
		if status, _ := o.borrow(t, path); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", path, status)
		}
	}
}

// Images are named for as long as their builds run.
func TestLenderNamesImages(t *testing.T) {
	o := newOffice(t, nil)
	wants := func(blob, answer string) {
		t.Helper()
		h := httptest.NewRecorder()
		o.ServeHTTP(h, httptest.NewRequest(http.MethodGet, "/images?blob="+blob, nil))
		if got := strings.TrimSpace(h.Body.String()); h.Code != http.StatusOK || got != answer {
			t.Errorf("%s: status %d, %s, want %s", blob, h.Code, got, answer)
		}
	}
	wants("all", `{"images":null}`)
	a, b := &group{"a"}, &group{"b"}
	o.admit("example/a", a)
	o.admit("example/a", b)
	o.admit("example/b", b)
	wants("all", `{"images":["example/a:1","example/b:1"]}`)
	wants("example/a", `{"images":["example/a:1"]}`)
	wants("none", `{"images":null}`)
	b.id = ""
	wants("all", `{"images":["example/a:1"]}`)
}

// A session that ended has no say, and builds that ended are forgotten.
func TestLenderForgetsWhoIsGone(t *testing.T) {
	o := newOffice(t, nil)
	s := o.connect(t, &client{user: "u", secret: "s"})
	g := &group{id: s.ID()}
	o.admit("example/a", g)
	o.admit("example/a", g)
	o.wants(t, "example/a", 200, "u@host:1", "s")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.wants(t, "example/a", 404, "", "")
	g.id = ""
	o.admit("example/b", session.NewGroup("x"))
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.mu.admitted); n != 1 {
		t.Errorf("%d repositories are kept", n)
	}
}

// BuildKit closes a client's connection before it forgets the session.
func TestLenderBetweenTheEndsOfConnectionAndSession(t *testing.T) {
	o := newOffice(t, nil)
	s := o.connect(t, &client{user: "u", secret: "s"})
	o.admit("example/a", session.NewGroup(s.ID()))
	caller, err := o.sessions.Get(t.Context(), s.ID(), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Conn().Close(); err != nil {
		t.Fatal(err)
	}
	o.wants(t, "example/a", 404, "", "")
}

// group is a build, which ends when its id is taken away.
type group struct{ id string }

func (g *group) SessionIterator() session.Iterator { return session.NewGroup(g.id).SessionIterator() }

// Nobody else can connect, and what a lender left that was killed does not
// matter.
func TestLenderSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "lender-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sessions, err := session.NewManager()
	if err != nil {
		t.Fatal(err)
	}
	var before *Lender
	for range 2 {
		l, err := Lend(t.Context(), LenderOptions{Dir: dir, Sessions: sessions})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if before != nil && l.socket != before.socket {
			t.Errorf("the socket is %s and then %s", before.socket, l.socket)
		}
		before = l
		for path, mode := range map[string]os.FileMode{l.socket: os.ModeSocket | 0o600, filepath.Dir(l.socket): os.ModeDir | 0o700} {
			if info, err := os.Lstat(path); err != nil || info.Mode() != mode {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
	}
	if _, err := Lend(t.Context(), LenderOptions{Dir: filepath.Join(dir, "not", "there"), Sessions: sessions}); err == nil {
		t.Error("no error")
	}
}

// The offer is with each layer, besides what names the layer, and in its image's name
// nothing else that is ladle's.
func TestOffer(t *testing.T) {
	o := newOffice(t, nil)
	l := newLab(t, &backend{merges: true, lazy: []string{"sha256:1"}})
	l.lender = o.Lender
	l.Announce("sha256:1", Layer{Labels: map[string]string{
		"containerd.io/snapshot/digest": "blob", credentialsLabel: "/evil", "containerd.io/snapshot/ladle.other": "evil",
	}})
	if _, err := l.Stat(t.Context(), "sha256:1"); err != nil {
		t.Fatal(err)
	}
	got := l.last().labels
	if len(got) != 5 || got[credentialsLabel] != o.socket || got[refLabel] != "sha256:1" || got["containerd.io/snapshot/digest"] != "blob" {
		t.Errorf("labels %v", got)
	}
	if _, err := l.Stat(t.Context(), "sha256:2"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
}
