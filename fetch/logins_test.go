package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/internal/registrytest"
)

// static is a source with one login for a host and repository.
type static struct {
	name       string
	host, repo string // "": for all
	user       string
	secret     string
	err        error
}

func (s static) Name() string { return s.name }

func (s static) Credentials(_ context.Context, c auth.Challenge) (auth.Login, error) {
	if s.err != nil || s.host != "" && s.host != c.Host || s.repo != "" && s.repo != c.Repository {
		return auth.Login{}, s.err
	}
	return auth.Login{User: s.user, Secret: s.secret}, nil
}

// asking returns options that ask sources.
func asking(list ...auth.Source) HostsOptions {
	sources := auth.NewSources(nil, list...)
	return HostsOptions{Credentials: sources.Credentials, Refused: sources.Refused}
}

// A login that a registry or its token server refuses is followed by the next one within one
// read, and comes last from then on.
func TestNextLoginIsTried(t *testing.T) {
	data := random(1000)
	for name, c := range map[string]struct {
		opts     registrytest.Options
		requests int // of tokens, or of blobs if there are none
	}{
		"token": {registrytest.Options{Token: true, User: "u", Password: "p"}, 3},
		"basic": {registrytest.Options{Basic: true, User: "u", Password: "p"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, c.opts)
			client := New(Hosts(t.Context(), asking(
				static{name: "lent", err: errors.New("broken")},
				static{name: "cri", user: "u", secret: "old"},
				static{name: "kubelet", user: "u", secret: "older"},
				static{name: "docker", user: "u", secret: "p"},
			)), quick)
			b := blobOf(client, r, data)
			wantRange(t, b, data, 0, 10)
			kind := registrytest.Token
			if c.opts.Basic {
				kind = registrytest.Blob
			}
			if n := r.Count(kind); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
			r.Reset()
			r.Expire()
			wantRange(t, b, data, 10, 10)
			if n := r.Count(kind); n != 1 {
				t.Errorf("%d requests, want 1: it is known which login is good", n)
			}
		})
	}
}

// If no login is accepted, or there is none, the error says what each source answered, and
// has no secret. The registry is asked no more often than there are logins.
func TestNoLoginIsAccepted(t *testing.T) {
	data := random(1000)
	for _, opts := range []registrytest.Options{{Token: true, User: "u", Password: "p"}, {Basic: true, User: "u", Password: "p"}} {
		for _, c := range []struct {
			sources  []auth.Source
			want     string
			requests int
		}{
			{nil, "there are no sources", 1},
			{[]auth.Source{static{name: "lent"}, static{name: "docker", err: errors.New("broken")}}, "credentials: lent: none, docker: failed (broken)", 1},
			{[]auth.Source{static{name: "lent"}, static{name: "docker", user: "u", secret: "hunter2"}}, "credentials: lent: none, docker: refused", 2},
		} {
			r := registrytest.New(t, opts)
			_, err := read(within(t), blobOf(New(Hosts(t.Context(), asking(c.sources...)), quick), r, data), 0, 10)
			if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %s", err, c.want)
			}
			if n := r.Count(registrytest.Blob); n > c.requests {
				t.Errorf("%d requests for the blob, want %d", n, c.requests)
			}
		}
	}
}

// A token that the registry refuses although it is new: the login may not read the
// repository, and the next one is tried.
func TestTokenOfNoUse(t *testing.T) {
	data := random(1000)
	r := registrytest.New(t, registrytest.Options{Token: true})
	r.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Kind == registrytest.Blob && q.Header.Get("Authorization") != "" && tokensOf(r, "right") == 0 {
			return registrytest.Fault{Status: http.StatusUnauthorized, Header: fmt.Sprintf(
				`WWW-Authenticate: Bearer realm="http://%s/token",service="registrytest",scope="repository:library/test:pull"`, r.Host())}
		}
		return registrytest.Fault{}
	})
	client := New(Hosts(t.Context(), asking(static{name: "cri", user: "wrong", secret: "s"}, static{name: "docker", user: "right", secret: "s"})), quick)
	wantRange(t, blobOf(client, r, data), data, 0, 10)
	if wrong, right := tokensOf(r, "wrong"), tokensOf(r, "right"); wrong != 1 || right != 1 {
		t.Errorf("%d and %d tokens, want one by each login", wrong, right)
	}
}

// tokensOf returns how many tokens a user has asked for.
func tokensOf(r *registrytest.Registry, user string) (n int) {
	for _, q := range r.Log() {
		if q.Kind != registrytest.Token {
			continue
		}
		req := http.Request{Header: q.Header}
		if u, _, _ := req.BasicAuth(); u == user {
			n++
		}
	}
	return n
}

// A login goes to the host and for the repository that it is for: not to a mirror, not to
// where downloads are redirected to, and not to the host for another repository.
func TestLoginsStayWithTheirHost(t *testing.T) {
	data := random(1000)
	for _, opts := range []registrytest.Options{
		{Token: true, User: "u", Password: "p", Redirect: true}, {Basic: true, User: "u", Password: "p", Redirect: true},
	} {
		registry := registrytest.New(t, opts)
		opts.User, opts.Password = "m", "q"
		mirror := registrytest.New(t, opts) // it does not have the blob
		hosts := asking(
			static{name: "secrets", host: registry.Host(), repo: registry.Host() + "/library/test", user: "u", secret: "p"},
			static{name: "docker", host: mirror.Host(), user: "m", secret: "q"})
		hosts.Mirrors = map[string][]Mirror{registry.Host(): {{Host: mirror.Host()}}}
		client := New(Hosts(t.Context(), hosts), quick)
		b := blobOf(client, registry, data)
		wantRange(t, b, data, 0, 10)
		if mirror.Count(registrytest.Blob) < 2 || registry.Count(registrytest.Storage) != 1 {
			t.Fatal("not all hosts were asked")
		}
		d := registry.AddBlob(data)
		if _, err := read(within(t), client.Blob(Source{registry.Ref("other/image:1"), d}), 0, 10); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("another repository: %v", err)
		}
		for _, r := range []struct {
			*registrytest.Registry
			user string
		}{{registry, "u"}, {mirror, "m"}} {
			for _, q := range r.Log() {
				req := http.Request{Header: q.Header}
				user, _, given := req.BasicAuth()
				if given && user != r.user || q.Kind == registrytest.Storage && q.Header.Get("Authorization") != "" {
					t.Errorf("%s %s got the login of %q", q.Kind, q.Path, user)
				}
				if given && user == "u" && strings.Contains(q.Path+q.Query, "other") {
					t.Errorf("%s?%s got the login of another repository", q.Path, q.Query)
				}
			}
		}
	}
}
