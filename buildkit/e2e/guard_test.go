package e2e

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/test/link"
)

// What the guarded registry's only user logs in with, and its bcrypt hash.
const (
	guardUser     = "ali"
	guardPassword = "speak-friend-4711"
	guardLogin    = "YWxpOnNwZWFrLWZyaWVuZC00NzEx" // both, in base64
	guardHash     = "$2a$04$OphWjwoYPB5AODKFeVv3i.n3mYNwC/PkDNr/OjEdW86fuj6mPZHza"
)

// guard is a registry with the images of the lab's, for one user alone, behind a
// link of its own.
type guard struct {
	*link.Link
	tokens *tokenServer // nil: the user names himself in each request
}

// The two ways in which a registry asks who is there.
const (
	basic = "basic"
	token = "token"
)

// guard starts a guarded registry.
func (l lab) guard(scheme string) guard {
	l.Helper()
	dir := l.TempDir()
	var g guard
	auth := fmt.Sprintf("  htpasswd:\n    realm: test\n    path: %s\n", filepath.Join(dir, "htpasswd"))
	if scheme == token {
		g.tokens = newTokenServer(l.TB)
		write(l.TB, filepath.Join(dir, "roots.pem"), g.tokens.certificatePEM())
		auth = fmt.Sprintf("  token:\n    realm: %s\n    service: test\n    issuer: test\n    rootcertbundle: %s\n",
			g.tokens.URL, filepath.Join(dir, "roots.pem"))
	} else {
		write(l.TB, filepath.Join(dir, "htpasswd"), guardUser+":"+guardHash+"\n")
	}
	registry, err := l.Registry.Guarded(l.Context(), auth)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { closed(l.TB, registry) })
	if g.Link, err = link.Listen(registry.Addr, link.Profile{RTT: 20 * time.Millisecond, Bandwidth: 200e6}); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { closed(l.TB, g.Link) })
	return g
}

func closed(t testing.TB, c interface{ Close() error }) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// ref is the reference of an image of the lab's registry in the guarded one.
func (g guard) ref(ref string) string {
	_, path, _ := strings.Cut(ref, "/")
	return g.Addr() + "/" + path
}

// config is docker's configuration file of the user.
func (g guard) config() string {
	return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, g.Addr(), guardLogin)
}

// tokenServer gives tokens that a registry of the CNCF distribution accepts
// (distribution.github.io/distribution/spec/auth/jwt).
type tokenServer struct {
	*httptest.Server
	key         *rsa.PrivateKey
	certificate []byte
	given       atomic.Int64
	passwords   atomic.Int64 // how many GETs had the right one: BuildKit's clients POST it
	life        atomic.Int64 // of tokens, in seconds; the registry takes them for a minute more
}

// shortLife of tokens, in seconds, makes ladle want several in one test.
const shortLife = 2

func newTokenServer(t testing.TB) *tokenServer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &tokenServer{key: key, certificate: certificate}
	s.life.Store(shortLife)
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *tokenServer) certificatePEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate}))
}

func (s *tokenServer) serve(w http.ResponseWriter, r *http.Request) {
	user, password, scopes := r.PostFormValue("username"), r.PostFormValue("password"), strings.Fields(r.PostFormValue("scope"))
	if r.Method == http.MethodGet {
		user, password, _ = r.BasicAuth()
		scopes = r.URL.Query()["scope"]
	}
	if user != guardUser || password != guardPassword {
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"nobody knows you"}]}`, http.StatusUnauthorized)
		return
	}
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	if r.Method == http.MethodGet {
		s.passwords.Add(1)
	}
	var granted []access
	for _, scope := range scopes {
		if name, ok := strings.CutPrefix(scope, "repository:"); ok {
			name, _, _ = strings.Cut(name, ":")
			granted = append(granted, access{"repository", name, []string{"pull"}})
		}
	}
	now, life := time.Now(), s.life.Load()
	signed, err := s.sign(map[string]any{
		"iss": "test", "aud": "test", "sub": guardUser, "jti": fmt.Sprint(s.given.Add(1)),
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(time.Duration(life) * time.Second).Unix(), "access": granted,
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"token": signed, "access_token": signed, "expires_in": life}) // who asked sees that it fails
}

// sign returns a JSON web token of claims (RFC 7519, RS256).
func (s *tokenServer) sign(claims map[string]any) (string, error) {
	head := map[string]any{"typ": "JWT", "alg": "RS256", "x5c": []string{base64.StdEncoding.EncodeToString(s.certificate)}}
	var parts []string
	for _, part := range []any{head, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	signed := strings.Join(parts, ".")
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, digest[:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), err
}
