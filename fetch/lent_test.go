package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/internal/registrytest"
)

// lending lends hosts to everybody.
func lending(hosts ...auth.Host) func(context.Context, string, string) ([]auth.Host, error) {
	return func(context.Context, string, string) ([]auth.Host, error) { return hosts, nil }
}

// Hosts that are lent are reached as the lender was told.
func TestLentHosts(t *testing.T) {
	data := random(1 << 20)
	authority, cert, key := clientCertificate(t)
	open := registrytest.New(t, registrytest.Options{Token: true, User: "u", Password: "p"})
	plain := registrytest.New(t, registrytest.Options{TLS: true, Redirect: true})
	mutual := registrytest.New(t, registrytest.Options{ClientCAs: authority, Redirect: true, Token: true})
	dir := t.TempDir()
	pair := auth.KeyPair{Cert: put(t, dir, "client.pem", cert), Key: put(t, dir, "client.key", key)}
	ca := []string{put(t, dir, "plain.pem", string(plain.CertPEM())), put(t, dir, "mutual.pem", string(mutual.CertPEM())), put(t, dir, "none.pem", "")}
	pipe := dir + "/pipe"
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		r    *registrytest.Registry
		host auth.Host // with the registry's address for %s
		ok   bool
	}{
		"http":               {open, auth.Host{URL: "http://%s/v2"}, true},
		"a slash more":       {open, auth.Host{URL: "http://%s/v2/"}, true},
		"ca":                 {plain, auth.Host{URL: "https://%s/v2", CAs: ca}, true},
		"no ca":              {plain, auth.Host{URL: "https://%s/v2"}, false},
		"insecure":           {plain, auth.Host{URL: "https://%s/v2", Insecure: true}, true},
		"insecure, client":   {mutual, auth.Host{URL: "https://%s/v2", Insecure: true, KeyPairs: []auth.KeyPair{pair}}, true},
		"client":             {mutual, auth.Host{URL: "https://%s/v2", CAs: ca, KeyPairs: []auth.KeyPair{pair}}, true},
		"no client":          {mutual, auth.Host{URL: "https://%s/v2", CAs: ca}, false},
		"http, after TLS":    {open, auth.Host{URL: "https://%s/v2", Insecure: true, Fallback: true}, true},
		"no TLS":             {open, auth.Host{URL: "https://%s/v2", Insecure: true}, false},
		"TLS, with fallback": {plain, auth.Host{URL: "https://%s/v2", Insecure: true, Fallback: true}, true},
		"no such file":       {plain, auth.Host{URL: "https://%s/v2", CAs: []string{dir + "/none"}}, false},
		"a pipe":             {plain, auth.Host{URL: "https://%s/v2", CAs: []string{pipe}}, false},
		"a device":           {plain, auth.Host{URL: "https://%s/v2", CAs: []string{"/dev/zero"}}, false},
		"no such key":        {mutual, auth.Host{URL: "https://%s/v2", CAs: ca, KeyPairs: []auth.KeyPair{{Cert: pair.Cert, Key: ca[0]}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.host.URL = fmt.Sprintf(c.host.URL, c.r.Host())
			b := example(t, HostsOptions{Lent: lending(c.host)}, c.r, data)
			if c.ok {
				wantRange(t, b, data, 0, 1000)
				wantTail(t, b, data, 1000)
			} else if _, err := read(within(t), b, 0, 1000); err == nil {
				t.Error("no error")
			}
		})
	}
}

// The hosts are those that ladle's own configuration has for the registry, else those of
// the lender, else those of _default, else the registry itself.
func TestWhoseHosts(t *testing.T) {
	data := random(1000)
	own, any, lent := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
	named, default_ := t.TempDir(), t.TempDir()
	put(t, named, "registry.example/hosts.toml", `server = "http://`+own.Host()+`"`)
	put(t, default_, "_default/hosts.toml", `server = "http://`+any.Host()+`"`)
	mirrors := map[string][]Mirror{"registry.example": {{Host: own.Host()}}}
	lends, nothing := lending(auth.Host{URL: "http://" + lent.Host() + "/v2"}), lending()
	fails := func(context.Context, string, string) ([]auth.Host, error) { return nil, errors.New("not at all") }
	for name, c := range map[string]struct {
		opts HostsOptions
		want *registrytest.Registry // nil: an error
	}{
		"a directory of its own":       {HostsOptions{Dirs: []string{named}, Lent: lends}, own},
		"mirrors":                      {HostsOptions{Mirrors: mirrors, Dirs: []string{default_}, Lent: lends}, own},
		"nobody asked":                 {HostsOptions{Dirs: []string{named}, Lent: fails}, own},
		"any registry":                 {HostsOptions{Dirs: []string{default_}, Lent: lends}, lent},
		"no directory":                 {HostsOptions{Dirs: []string{t.TempDir()}, Lent: lends}, lent},
		"any registry, nothing lent":   {HostsOptions{Dirs: []string{default_}, Lent: nothing}, any},
		"any registry, nobody lends":   {HostsOptions{Dirs: []string{default_}}, any},
		"any registry, lender is gone": {HostsOptions{Dirs: []string{default_}, Lent: fails}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []*registrytest.Registry{own, any, lent} {
				r.Reset()
				r.AddBlob(data)
			}
			b := example(t, c.opts, own, data)
			if c.want == nil {
				if _, err := read(within(t), b, 0, 10); err == nil {
					t.Error("no error")
				}
				return
			}
			wantRange(t, b, data, 0, 10)
			if c.want.Count() != 1 || own.Count()+any.Count()+lent.Count() != 1 {
				t.Errorf("own %d, any %d, lent %d", own.Count(), any.Count(), lent.Count())
			}
		})
	}
}

// Connections and tokens stay while the same is lent, for all repositories. What
// was lent to one of them is not for another.
func TestLentHostsStay(t *testing.T) {
	data := random(1000)
	r := registrytest.New(t, registrytest.Options{TLS: true, Token: true})
	d := r.AddBlob(data)
	file := put(t, t.TempDir(), "ca.pem", string(r.CertPEM()))
	lent := []auth.Host{{URL: "https://" + r.Host() + "/v2", CAs: []string{file}}}
	c := New(Hosts(t.Context(), HostsOptions{Lent: func(_ context.Context, registry, repository string) ([]auth.Host, error) {
		if registry != "registry.example" || repository == registry+"/other" {
			return nil, nil
		}
		return lent, nil
	}}), quick)
	now := time.Now()
	c.now = func() time.Time { now = now.Add(hostsFor); return now }
	reads := func(challenged, tokens int) {
		t.Helper()
		for range 3 {
			wantRange(t, c.Blob(Source{"registry.example/one:1", d}), data, 0, 10)
			wantRange(t, c.Blob(Source{"registry.example/two:1", d}), data, 0, 10)
		}
		if n := r.Count(registrytest.Token); n != tokens {
			t.Errorf("%d tokens, want %d", n, tokens)
		}
		if n := r.Count(registrytest.Blob); n != 6+challenged {
			t.Errorf("%d requests, want %d", n, 6+challenged)
		}
		r.Reset()
	}
	reads(1, 2)
	if err := os.Chtimes(file, now, now); err != nil {
		t.Fatal(err)
	}
	reads(1, 2)
	c.now = func() time.Time { return now }
	wantRange(t, c.Blob(Source{"registry.example/one:1", d}), data, 0, 10)
	lent[0].CAs = append(lent[0].CAs, file)
	for range 2 {
		wantRange(t, c.Blob(Source{"registry.example/one:1", d}), data, 0, 10)
	}
	if n := r.Count(registrytest.Token); n != 0 {
		t.Errorf("%d tokens: others were lent, and it was known at once", n)
	}
	c.AskAgain("registry.example/one:2")
	c.AskAgain("registry.example/unknown:2")
	c.AskAgain("")
	wantRange(t, c.Blob(Source{"registry.example/one:1", d}), data, 0, 10)
	if n := r.Count(registrytest.Token); n != 1 {
		t.Errorf("%d tokens, want that of the hosts that were lent last", n)
	}
	b := c.Blob(Source{"registry.example/other:1", d})
	if hosts, err := c.allHosts(within(t), b.img); err != nil || len(hosts) != 1 || hosts[0].Host != "registry.example" {
		t.Errorf("%v, %v", hosts, err)
	}
	if n := len(c.known.mu.hosts); n != 4 {
		t.Errorf("%d hosts are known, want three that were lent and one", n)
	}
}

// A token that is lent is used for its life, and no password is sent.
func TestLentToken(t *testing.T) {
	data := random(1000)
	r := registrytest.New(t, registrytest.Options{Token: true, User: "u", Password: "p"})
	lent := 0
	hosts := Hosts(t.Context(), HostsOptions{Credentials: func(_ context.Context, q auth.Challenge) (auth.Login, error) {
		lent++
		if q.Realm == "" || q.Service != "registrytest" || strings.Join(q.Scopes, " ") != "repository:library/test:pull" {
			t.Errorf("%q", q)
		}
		return auth.Login{Token: fmt.Sprintf("0-%d-0-%s", lent, q.Scopes[0]), Life: time.Minute}, nil
	}})
	c := New(hosts, quick)
	b := blobOf(c, r, data)
	now := time.Now()
	for n := range 2 {
		for range 3 {
			wantRange(t, b, data, 0, 10)
			all, err := c.allHosts(within(t), b.img)
			if err != nil {
				t.Fatal(err)
			}
			all[0].Authorizer.(*authorizer).tokens.now = func() time.Time { return now }
		}
		if lent != n+1 || r.Count(registrytest.Token) != 0 {
			t.Errorf("%d tokens were asked for, want %d; and %d fetched", lent, n+1, r.Count(registrytest.Token))
		}
		now = now.Add(time.Minute)
	}
}
