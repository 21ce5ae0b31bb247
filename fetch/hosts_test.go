package fetch

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/ladle-dev/ladle/internal/registrytest"
)

// put writes a file below root and returns its path.
func put(t *testing.T, root, name, content string) string {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// hostsToml writes DIR/registry.example/hosts.toml and returns DIR.
func hostsToml(t *testing.T, content string) string {
	dir := t.TempDir()
	put(t, dir, "registry.example/hosts.toml", content)
	return dir
}

// example returns a reader of data, which r has, as a blob of the registry
// registry.example.
func example(t *testing.T, opts HostsOptions, r *registrytest.Registry, data []byte) *Blob {
	opts.Credentials = credentials
	return New(Hosts(t.Context(), opts), quick).Blob(Source{"registry.example/library/test:1", r.AddBlob(data)})
}

func TestHostsToml(t *testing.T) {
	data := random(1 << 20)
	first := registrytest.New(t, registrytest.Options{})
	second := registrytest.New(t, registrytest.Options{Token: true, User: "u", Password: "p"})
	dir := hostsToml(t, fmt.Sprintf(`
server = "http://127.0.0.1:1"
[host."http://%s"]
  capabilities = ["pull"]
  [host."http://%s".header]
    X-First = "1"
[host."http://%s"]
  capabilities = ["pull", "resolve"]
  dial_timeout = "5s"
`, first.Host(), first.Host(), second.Host()))
	b := example(t, HostsOptions{Dirs: []string{t.TempDir(), dir}}, second, data)
	wantRange(t, b, data, 0, 1000) // the first one does not have it
	if first.Count() != 1 || second.Count(registrytest.Blob) != 2 {
		t.Fatalf("requests: first %d, second %d", first.Count(), second.Count())
	}
	q := first.Log()[0]
	if q.Header.Get("X-First") != "1" || q.Query != "ns=registry.example" {
		t.Errorf("request of the first host: %v %q", q.Header, q.Query)
	}
	if second.Log()[0].Header.Get("X-First") != "" {
		t.Error("the second host has the first one's header")
	}
	d := second.AddManifest("library/test:1", "application/json", []byte("{}"))
	first.AddManifest("library/test:1", "application/json", []byte("not to be trusted"))
	if _, got, err := b.client.ManifestByTag(within(t), b.src.Ref); err != nil || got != d {
		t.Errorf("manifest by tag: %s %v", got, err)
	}
}

// TestEachAddressIsAskedOnce: a hosts.toml that names one address as its server
// and as a host does not have it asked twice. What only the server may be asked
// for is still asked of it.
func TestEachAddressIsAskedOnce(t *testing.T) {
	r := registrytest.New(t, registrytest.Options{})
	dir := hostsToml(t, fmt.Sprintf(`
server = "http://%s"
[host."http://%s"]
  capabilities = ["pull"]
  [host."http://%s".header]
    X-Host = "1"
`, r.Host(), r.Host(), r.Host()))
	b := example(t, HostsOptions{Dirs: []string{dir}}, r, []byte("some bytes"))
	wantRange(t, b, []byte("some bytes"), 0, 4)
	absent := b.client.Blob(Source{b.src.Ref, digestOf([]byte("absent"))})
	r.Reset()
	if _, _, err := absent.Tail(within(t), 4); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if n := r.Count(); n != 1 {
		t.Errorf("%d requests for a blob that is not there, want 1", n)
	}
	if q := r.Log()[0]; q.Header.Get("X-Host") != "1" {
		t.Error("the host's header is missing")
	}
	d := r.AddManifest("library/test:1", "application/json", []byte("{}"))
	if _, got, err := b.client.ManifestByTag(within(t), b.src.Ref); err != nil || got != d {
		t.Errorf("manifest by tag: %s %v", got, err)
	}
}

func TestHostsOfCertificates(t *testing.T) {
	data := random(1 << 20)
	authority, cert, key := clientCertificate(t)
	plain := registrytest.New(t, registrytest.Options{TLS: true, Redirect: true})
	mutual := registrytest.New(t, registrytest.Options{ClientCAs: authority, Redirect: true, Token: true})
	for name, c := range map[string]struct {
		r    *registrytest.Registry
		toml string // %s is the address
		ok   bool
	}{
		"ca":                  {plain, `server = "https://%s"` + "\nca = 'ca.pem'", true},
		"ca of a mirror":      {plain, `[host."https://%s"]` + "\nca = ['ca.pem']", true},
		"skip_verify":         {plain, `server = "https://%s"` + "\nskip_verify = true", true},
		"none":                {plain, `server = "https://%s"`, false},
		"client":              {mutual, `server = "https://%s"` + "\nca = 'ca.pem'\nclient = [['client.pem', 'client.key']]", true},
		"client of a mirror":  {mutual, `[host."https://%s"]` + "\nca = 'ca.pem'\nclient = [['client.pem', 'client.key']]", true},
		"no client, mutual":   {mutual, `server = "https://%s"` + "\nca = 'ca.pem'", false},
		"plain HTTP to HTTPS": {plain, `server = "http://%s"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := hostsToml(t, fmt.Sprintf(c.toml, c.r.Host()))
			put(t, dir, "registry.example/ca.pem", string(c.r.CertPEM()))
			put(t, dir, "registry.example/client.pem", cert)
			put(t, dir, "registry.example/client.key", key)
			b := example(t, HostsOptions{Dirs: []string{dir}}, c.r, data)
			if c.ok {
				wantRange(t, b, data, 0, 1000)
				wantTail(t, b, data, 1000)
			} else if _, err := read(within(t), b, 0, 1000); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestDockerCertificates: a directory without hosts.toml, as Docker's certs.d.
func TestDockerCertificates(t *testing.T) {
	data := random(1000)
	authority, cert, key := clientCertificate(t)
	r := registrytest.New(t, registrytest.Options{ClientCAs: authority})
	host := strings.Replace(r.Host(), ":", "_", 1) + "_"
	dir := t.TempDir()
	put(t, dir, host+"/ca.crt", string(r.CertPEM()))
	put(t, dir, host+"/a.cert", cert)
	put(t, dir, host+"/a.key", key)
	c := New(Hosts(t.Context(), HostsOptions{Dirs: []string{dir}}), quick)
	wantRange(t, blobOf(c, r, data), data, 0, 1000)
}

func TestHostsAreReadAgain(t *testing.T) {
	data := random(1 << 20)
	one, two := registrytest.New(t, registrytest.Options{Token: true}), registrytest.New(t, registrytest.Options{})
	dir := hostsToml(t, `server = "http://`+one.Host()+`"`)
	b := example(t, HostsOptions{Dirs: []string{dir}}, one, data)
	two.AddBlob(data)
	now := time.Now()
	b.client.now = func() time.Time { return now }
	for range 3 {
		wantRange(t, b, data, 0, 1000)
		now = now.Add(hostsFor)
	}
	if n := one.Count(); n != 5 {
		t.Errorf("%d requests, want 5: the token stays while the file does", n)
	}
	one.Reset()
	put(t, dir, "registry.example/hosts.toml", `server = "http://`+two.Host()+`"  # changed`)
	wantRange(t, b, data, 0, 1000)
	if one.Count() != 0 || two.Count() != 1 {
		t.Errorf("after the change: %d requests of the old host, %d of the new", one.Count(), two.Count())
	}
	if n := len(b.mu.states); n > 1 {
		t.Errorf("%d places are remembered", n)
	}
}

// After all hosts of a repository have failed, the next read gets the hosts anew.
func TestOtherHostsAfterFailure(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{})
	r.AddBlob(data)
	name := "127.0.0.1:1" // where nobody listens
	c := New(func(ctx context.Context, _, repository string) ([]docker.RegistryHost, error) {
		return Hosts(ctx, HostsOptions{})(ctx, name, repository)
	}, quick)
	b := c.Blob(Source{"registry.example/a:1", digestOf(data)})
	if _, err := read(within(t), b, 0, 1000); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	name = r.Host()
	wantRange(t, b, data, 0, 1000)
}

func TestMirrors(t *testing.T) {
	data := random(1 << 20)
	r := registrytest.New(t, registrytest.Options{})
	one, two := registrytest.New(t, registrytest.Options{}), registrytest.New(t, registrytest.Options{})
	opts := HostsOptions{Mirrors: map[string][]Mirror{
		r.Host(): {
			{Host: one.Host(), Header: http.Header{"X-One": {"1"}}, RequestTimeout: time.Minute},
			{Host: two.Host(), Insecure: true, RequestTimeout: time.Minute},
		},
	}}
	b := blobOf(New(Hosts(t.Context(), opts), quick), r, data)
	wantRange(t, b, data, 0, 1000)
	if one.Count() != 1 || two.Count() != 1 || r.Count() != 1 {
		t.Fatalf("requests: %d %d %d, want each to be asked once", one.Count(), two.Count(), r.Count())
	}
	if one.Log()[0].Header.Get("X-One") != "1" || two.Log()[0].Header.Get("X-One") != "" {
		t.Error("the header belongs to the first mirror")
	}
	if ns := "ns=" + strings.Replace(r.Host(), ":", "%3A", 1); one.Log()[0].Query != ns || r.Log()[0].Query != "" {
		t.Errorf("queries: %q %q", one.Log()[0].Query, r.Log()[0].Query)
	}
}

// TestMirrorsBeforeDirectory: with both, the mirrors come first, and the
// registry is configured by the directory.
func TestMirrorsBeforeDirectory(t *testing.T) {
	data := random(1000)
	m := registrytest.New(t, registrytest.Options{})
	r := registrytest.New(t, registrytest.Options{TLS: true})
	dir := hostsToml(t, `server = "https://`+r.Host()+`"`+"\nca = 'ca.pem'")
	put(t, dir, "registry.example/ca.pem", string(r.CertPEM()))
	opts := HostsOptions{Dirs: []string{dir}, Mirrors: map[string][]Mirror{"registry.example": {{Host: m.Host()}}}}
	wantRange(t, example(t, opts, r, data), data, 0, 1000)
	if m.Count() != 1 || r.Count() != 1 {
		t.Errorf("requests: %d %d", m.Count(), r.Count())
	}
}

func TestSchemeAndNames(t *testing.T) {
	hosts := Hosts(t.Context(), HostsOptions{Mirrors: map[string][]Mirror{
		"m.example": {{Host: "docker.io"}, {Host: "a.example", Insecure: true}, {Host: "localhost:5000"}},
	}})
	for registry, want := range map[string]string{
		"docker.io":       "https://registry-1.docker.io/v2",
		"localhost:5000":  "http://localhost:5000/v2",
		"127.0.0.1:5000":  "http://127.0.0.1:5000/v2",
		"[::1]:5000":      "http://[::1]:5000/v2",
		"r.example":       "https://r.example/v2",
		"r.example:5000":  "https://r.example:5000/v2",
		"m.example":       "https://registry-1.docker.io/v2 http://a.example/v2 http://localhost:5000/v2 https://m.example/v2",
		"localhost.other": "https://localhost.other/v2",
	} {
		all, err := hosts(t.Context(), registry, registry+"/a")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range all {
			got = append(got, h.Scheme+"://"+h.Host+h.Path)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", registry, s, want)
		}
	}
	h := &host{registry: "docker.io"}
	h.Scheme, h.Host, h.Path = "https", "registry-1.docker.io", "/v2"
	if u := h.url("library/a", "/blobs/x").String(); u != "https://registry-1.docker.io/v2/library/a/blobs/x" {
		t.Error(u)
	}
}

type counting struct {
	http.RoundTripper
	n *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

// TestWrap: all requests, those for tokens among them, go through the wrapper,
// and through it once.
func TestWrap(t *testing.T) {
	data := random(1000)
	for name, toml := range map[string]string{
		"server":       `server = "http://%[1]s"`,
		"header":       `[host."http://%[1]s".header]` + "\nX-A = 'b'",
		"dial_timeout": `[host."http://%[1]s"]` + "\ndial_timeout = '9s'",
		"fallback":     `[host."http://%[1]s"]` + "\nskip_verify = true", // tries HTTPS first
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t, registrytest.Options{Token: true, Redirect: true})
			var n atomic.Int64
			b := example(t, HostsOptions{
				Dirs: []string{hostsToml(t, fmt.Sprintf(toml, r.Host()))},
				Wrap: func(rt http.RoundTripper) http.RoundTripper { return counting{rt, &n} },
			}, r, data)
			wantRange(t, b, data, 0, 1000)
			if want := r.Count(); int(n.Load()) != want {
				t.Errorf("%d requests through the wrapper, %d at the registry", n.Load(), want)
			}
		})
	}
}

func TestBadHosts(t *testing.T) {
	dir := hostsToml(t, `server = "https://a.example"`+"\nca = 'absent.pem'")
	put(t, dir, "push.example/hosts.toml", `server = "https://a.example"`+"\ncapabilities = ['push']")
	c := New(Hosts(t.Context(), HostsOptions{Dirs: []string{dir}}), quick)
	for _, registry := range []string{"registry.example", "push.example"} {
		b := c.Blob(Source{registry + "/a:1", digestOf(nil)})
		if _, err := b.Range(within(t), 0, 1); err == nil || !strings.Contains(err.Error(), registry) {
			t.Errorf("%s: error %v", registry, err)
		}
		if b.Link() != (Link{}) {
			t.Error("link to no host")
		}
		if _, err := c.Manifest(within(t), registry+"/a:1", digestOf(nil)); err == nil {
			t.Error("manifest of no host")
		}
	}
	failing := New(Hosts(t.Context(), HostsOptions{Dirs: []string{"/dev/null"}}), quick)
	if _, err := failing.Blob(Source{"a.example/a:1", digestOf(nil)}).Range(within(t), 0, 1); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("directory that is a file: %v", err)
	}
}

// clientCertificate returns an authority and a client's certificate and key of
// it, in PEM.
func clientCertificate(t *testing.T) (authority *x509.CertPool, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	authority = x509.NewCertPool()
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	authority.AppendCertsFromPEM([]byte(cert))
	return authority, cert, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}
