package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	challenges "github.com/containerd/containerd/v2/core/remotes/docker/auth"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/internal/registrytest"
)

func TestOneTokenForMany(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{Token: true})
	c := client(t)
	var all sync.WaitGroup
	for i := range int64(30) {
		b := blobOf(c, r, data[i*1000:])
		all.Go(func() {
			if _, _, err := b.Tail(within(t), 100); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := r.Count(registrytest.Token); n != 1 {
		t.Errorf("%d tokens were fetched, want 1", n)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	data := random(1 << 20)
	for name, expire := range map[string]func(*registrytest.Registry, *time.Time){
		"when the registry refuses it": func(r *registrytest.Registry, _ *time.Time) { r.Expire() },
		"before its time is over":      func(_ *registrytest.Registry, now *time.Time) { *now = now.Add(55 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, registrytest.Options{Token: true, TokenTTL: 60})
			c := client(t)
			b := blobOf(c, r, data)
			wantRange(t, b, data, 0, 1000)
			hosts, err := c.allHosts(within(t), b.img)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			hosts[0].Authorizer.(*authorizer).tokens.now = func() time.Time { return now }
			expire(r, &now)
			for range 3 {
				wantRange(t, b, data, 1000, 1000)
			}
			if n := r.Count(registrytest.Token); n != 2 {
				t.Errorf("%d tokens were fetched, want 2", n)
			}
		})
	}
}

// TestFailedTokenIsNotKept: neither an error of the token server nor a caller that ends
// makes the token fail for others.
func TestFailedTokenIsNotKept(t *testing.T) {
	t.Parallel()
	data := random(1000)
	for name, f := range map[string]registrytest.Fault{
		"500":    {Status: 500},
		"429":    {Status: 429},
		"403":    {Status: 403},
		"closed": {Close: registrytest.After(-1)},
		"stalls": {Stall: registrytest.After(-1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := registrytest.New(t, registrytest.Options{Token: true})
			b := blobOf(client(t, f), r, data)
			r.SetFault(registrytest.Always(registrytest.Token, f))
			_, err := read(within(t), b, 0, 10)
			want := ErrUnavailable
			if f.Status == 403 {
				want = ErrUnauthorized
			}
			var e *Error
			if !errors.Is(err, want) || !errors.As(err, &e) || e.Op != "token" {
				t.Errorf("error: %v", err)
			}
			r.SetFault(nil)
			wantRange(t, b, data, 0, 10)
		})
	}
}

// TestForbiddenToken: a registry that says 403 to a token is asked with another
// one the next time, by Basic authentication as before.
func TestForbiddenToken(t *testing.T) {
	data := random(1000)
	for kind, opts := range map[registrytest.Kind]registrytest.Options{
		registrytest.Token: {Token: true}, registrytest.Other: {Basic: true, User: "u", Password: "p"},
	} {
		r := registrytest.New(t, opts)
		b := blobOf(client(t), r, data)
		wantRange(t, b, data, 0, 100)
		r.Reset()
		r.SetFault(registrytest.First(1, registrytest.Blob, registrytest.Fault{Status: 403}))
		if _, err := read(within(t), b, 0, 100); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("error: %v", err)
		}
		wantRange(t, b, data, 0, 100)
		if n := r.Count(registrytest.Token); kind == registrytest.Token && n != 1 {
			t.Errorf("%d tokens were fetched, want 1", n)
		}
		if n := r.Count(registrytest.Blob); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	}
}

// TestLeaderGoesAway: when the caller that started the request of a token ends, the other
// waiting callers get the token.
func TestLeaderGoesAway(t *testing.T) {
	data := random(1000)
	r := registrytest.New(t, registrytest.Options{Token: true})
	b := blobOf(client(t), r, data)
	leader, cancel := context.WithCancel(within(t))
	asked, answer := make(chan struct{}), make(chan struct{})
	r.SetFault(func(q registrytest.Request) registrytest.Fault {
		if q.Kind == registrytest.Token {
			close(asked)
			<-answer
		}
		return registrytest.Fault{}
	})
	done := make(chan error, 2)
	go func() { _, err := read(leader, b, 0, 10); done <- err }()
	<-asked
	go func() { _, err := read(within(t), b, 0, 10); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("leader: %v", err)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Errorf("follower: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	data := random(1000)
	broken := errors.New("helper is broken")
	for name, c := range map[string]struct {
		opts         registrytest.Options
		user, secret string
		err          error
		want         error
	}{
		"password":             {registrytest.Options{Token: true, User: "u", Password: "p"}, "u", "p", nil, nil},
		"identity token":       {registrytest.Options{Token: true, User: "u", Password: "p"}, "", "refresh-p", nil, nil},
		"wrong identity token": {registrytest.Options{Token: true, User: "u", Password: "p"}, "", "refresh-q", nil, ErrUnauthorized},
		"wrong password":       {registrytest.Options{Token: true, User: "u", Password: "p"}, "u", "q", nil, ErrUnauthorized},
		"none":                 {registrytest.Options{Token: true, User: "u", Password: "p"}, "", "", nil, ErrUnauthorized},
		"needless":             {registrytest.Options{}, "u", "p", broken, nil},
		"broken":               {registrytest.Options{Token: true}, "", "", broken, broken},
		"basic":                {registrytest.Options{Basic: true, User: "u", Password: "p"}, "u", "p", nil, nil},
		"basic, wrong":         {registrytest.Options{Basic: true, User: "u", Password: "p"}, "u", "q", nil, ErrUnauthorized},
		"basic, none":          {registrytest.Options{Basic: true, User: "u", Password: "p"}, "", "", nil, ErrUnauthorized},
		"basic, broken":        {registrytest.Options{Basic: true, User: "u", Password: "p"}, "", "", broken, broken},
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, c.opts)
			hosts := Hosts(t.Context(), HostsOptions{Credentials: func(_ context.Context, q auth.Challenge) (auth.Login, error) {
				if q.Host != r.Host() || q.Repository != r.Host()+"/library/test" || (q.Realm != "") != c.opts.Token {
					t.Errorf("challenge %q", q)
				}
				return auth.Login{User: c.user, Secret: c.secret}, c.err
			}})
			_, err := read(within(t), blobOf(New(hosts, quick), r, data), 0, 10)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if n := r.Count(registrytest.Blob); n > 2 {
				t.Errorf("%d requests for the blob", n)
			}
		})
	}
}

// TestTokenServerIsNotNamed: nobody is asked for anything then, and above all not
// for a password.
func TestTokenServerIsNotNamed(t *testing.T) {
	r := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer service="s"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer r.Close()
	hosts := Hosts(t.Context(), HostsOptions{Credentials: func(_ context.Context, q auth.Challenge) (auth.Login, error) {
		t.Errorf("%q", q)
		return auth.Login{}, nil
	}})
	b := New(hosts, quick).Blob(Source{strings.TrimPrefix(r.URL, "http://") + "/a:1", digestOf(nil)})
	if _, err := read(within(t), b, 0, 10); !errors.Is(err, ErrUnauthorized) {
		t.Error(err)
	}
}

// TestNewLoginWorks: credentials are looked up again for each new token.
func TestNewLoginWorks(t *testing.T) {
	for name, opts := range map[string]registrytest.Options{
		"token": {Token: true, User: "u", Password: "new"},
		"basic": {Basic: true, User: "u", Password: "new"},
	} {
		t.Run(name, func(t *testing.T) {
			data := random(1000)
			r := registrytest.New(t, opts)
			password := "old"
			hosts := Hosts(t.Context(), HostsOptions{Credentials: func(context.Context, auth.Challenge) (auth.Login, error) {
				return auth.Login{User: "u", Secret: password}, nil
			}})
			b := blobOf(New(hosts, quick), r, data)
			if _, err := read(within(t), b, 0, 10); !errors.Is(err, ErrUnauthorized) {
				t.Fatalf("error: %v", err)
			}
			password = "new"
			wantRange(t, b, data, 0, 10)
		})
	}
}

// TestRepositoriesHaveTheirTokens: a token of one repository is not used for
// another.
func TestRepositoriesHaveTheirTokens(t *testing.T) {
	data := random(1000)
	r := registrytest.New(t, registrytest.Options{Token: true})
	c := client(t)
	d := r.AddBlob(data)
	for range 2 {
		for _, name := range []string{"one/a:1", "two/b:1", "one/a:2"} {
			wantRange(t, c.Blob(Source{r.Ref(name), d}), data, 0, 10)
		}
	}
	if n := r.Count(registrytest.Token); n != 2 {
		t.Errorf("%d tokens were fetched, want 2", n)
	}
	refused := 0
	for _, q := range r.Log() {
		if q.Kind == registrytest.Blob && q.Header.Get("Authorization") == "" {
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d requests without a token, want 1: the host is known to want one", refused)
	}
}

// TestTokenServerElsewhere: credentials do not follow a token server's
// redirection to another host.
func TestTokenServerElsewhere(t *testing.T) {
	s := newTokenSource(&http.Client{}, nil)
	next, _ := http.NewRequest(http.MethodGet, "http://b.example/", nil)
	first, _ := http.NewRequest(http.MethodGet, "http://a.example/", nil)
	if s.client.CheckRedirect(next, []*http.Request{first}) == nil {
		t.Error("redirection to another host is followed")
	}
	if err := s.client.CheckRedirect(first, []*http.Request{first}); err != nil {
		t.Errorf("redirection to the same host: %v", err)
	}
	secure, _ := http.NewRequest(http.MethodGet, "https://a.example/", nil)
	if s.client.CheckRedirect(first, []*http.Request{secure}) == nil {
		t.Error("redirection to plain HTTP is followed")
	}
	if err := s.client.CheckRedirect(secure, []*http.Request{first}); err != nil {
		t.Errorf("redirection from plain HTTP: %v", err)
	}
}

// What is known of one repository is forgotten before it is too much.
func TestGrantsAreBounded(t *testing.T) {
	a := newAuthorizer(newTokenSource(&http.Client{}, nil), HostsOptions{}.logins())
	for n := range maxGrants + 10 {
		a.challenged(grantKey{"host", fmt.Sprint(n)}, challenges.Challenge{Parameters: map[string]string{"scope": "s"}})
	}
	if n := a.mu.grants.Len(); n != maxGrants {
		t.Errorf("%d grants", n)
	}
}
