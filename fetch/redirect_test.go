package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/ladle-dev/ladle/internal/registrytest"
)

func TestRedirectionIsRemembered(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{Token: true, Redirect: true})
	c := client(t)
	wantTail(t, blobOf(c, r, data), data, 1000)
	front := r.Count(registrytest.Blob)
	for i := range int64(10) {
		wantRange(t, blobOf(c, r, data), data, i*1000, 1000) // another reader of the same blob
	}
	if n := r.Count(registrytest.Blob) - front; n != 0 {
		t.Errorf("the registry was asked %d times more", n)
	}
	if n := r.Count(registrytest.Storage); n != 11 {
		t.Errorf("the storage was asked %d times, want 11", n)
	}
}

func TestExpiredRedirection(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{Redirect: true})
	b := blobOf(client(t), r, data)
	wantRange(t, b, data, 0, 1000)
	for _, status := range []int{0, 400, 401, 403, 404, 410} {
		r.Expire()
		r.Reset()
		if status != 0 {
			r.SetFault(registrytest.First(1, registrytest.Storage, registrytest.Fault{Status: status}))
		}
		wantRange(t, b, data, 1000, 1000)
		if n := r.Count(); n != 3 {
			t.Errorf("status %d: %d requests, want 3: storage, registry, storage", status, n)
		}
	}
}

// TestExpiredForMany: when many readers find the address expired, the bytes
// are right and the new address is remembered.
func TestExpiredForMany(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{Redirect: true, Token: true})
	b := blobOf(client(t), r, data)
	wantRange(t, b, data, 0, 1000)
	r.Expire()
	var all sync.WaitGroup
	for i := range int64(16) {
		all.Go(func() {
			if got, err := read(within(t), b, i*1000, 1000); err != nil || string(got) != string(data[i*1000:i*1000+1000]) {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if n := r.Count(registrytest.Token); n != 2 {
		t.Errorf("%d tokens were fetched, want 2", n)
	}
	r.Reset()
	wantRange(t, b, data, 0, 1000)
	if n := r.Count(); n != 1 {
		t.Errorf("%d requests afterwards, want 1", n)
	}
}

// TestNothingSecretLeaves: the storage sees neither credentials nor headers of
// the host (the storage refuses an Authorization header, as S3 does), and no
// error has a signature in it.
func TestNothingSecretLeaves(t *testing.T) {
	data := random(1 << 20)
	for name, opts := range map[string]registrytest.Options{
		"token": {Token: true, User: "u", Password: "p", Redirect: true},
		"basic": {Basic: true, User: "u", Password: "p", Redirect: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, opts)
			hosts := Hosts(t.Context(), HostsOptions{Credentials: credentials, Mirrors: map[string][]Mirror{
				"registry.example": {{Host: r.Host(), Header: http.Header{"X-Secret": {"s"}}}},
			}})
			b := New(hosts, under(registrytest.Fault{Stall: registrytest.After(0)})).Blob(Source{"registry.example/library/test:1", r.AddBlob(data)})
			wantRange(t, b, data, 0, 1000)
			for _, q := range r.Log() {
				switch secret := q.Header.Get("X-Secret"); {
				case q.Kind == registrytest.Storage && secret != "":
					t.Error("the storage sees the header of the host")
				case q.Kind == registrytest.Blob && secret == "":
					t.Error("the host does not see its header")
				case q.Kind == registrytest.Blob && q.Query != "ns=registry.example":
					t.Errorf("query of the mirror is %q", q.Query)
				}
			}
			for _, f := range []registrytest.Fault{{Status: 403}, {Status: 500}, {Close: registrytest.After(-1)}, {Stall: registrytest.After(0)}} {
				r.SetFault(registrytest.Always(registrytest.Storage, f))
				_, err := read(within(t), b, far, 10)
				if err == nil || strings.Contains(err.Error(), "signature") || strings.Contains(err.Error(), "Bearer") {
					t.Errorf("error: %v", err)
				}
			}
		})
	}
}

// redirecting returns a client of a server that answers with location.
func redirecting(t *testing.T, location func(r *http.Request) string) *Blob {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l := location(r); l != "" {
			w.Header().Set("Location", l)
			w.WriteHeader(http.StatusFound)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	}))
	t.Cleanup(s.Close)
	host := s.Listener.Addr().String()
	return New(Hosts(t.Context(), HostsOptions{}), quick).Blob(Source{host + "/a:1", digestOf(nil)})
}

func TestRedirectionsElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		location string
		ok       bool
	}{
		"to itself, relative": {"/other", true},
		"to itself for ever":  {"/v2/a/blobs/" + string(digestOf(nil)), false},
		"to a file":           {"file:///etc/passwd", false},
		"to nonsense":         {"http://[::1", false},
		"to no host":          {"http://", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := redirecting(t, func(r *http.Request) string {
				if r.URL.Path == "/other" {
					return ""
				}
				return c.location
			})
			got, err := read(within(t), b, 2, 3)
			if c.ok && (err != nil || string(got) != "234") {
				t.Errorf("got %q %v", got, err)
			}
			if !c.ok && !errors.Is(err, ErrUnavailable) {
				t.Errorf("error: %v", err)
			}
		})
	}
}

// TestForeignHosts: registries need not come from Hosts.
func TestForeignHosts(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{Token: true, Redirect: true})
	hosts := docker.ConfigureDefaultRegistries(
		docker.WithPlainHTTP(docker.MatchAllHosts),
		docker.WithAuthorizer(docker.NewDockerAuthorizer()))
	registries := func(_ context.Context, registry, _ string) ([]docker.RegistryHost, error) { return hosts(registry) }
	b := blobOf(New(registries, quick), r, data)
	wantRange(t, b, data, 0, 1000)
	wantTail(t, b, data, 1000)
}
