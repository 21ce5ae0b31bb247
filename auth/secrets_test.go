package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/internal/waittest"
)

// secretsOf follows secrets, at a quick pace, until the test ends.
func secretsOf(t *testing.T, kubeconfig string, which ...string) *Secrets {
	s := NewSecrets(kubeconfig, which)
	s.wait, s.most = 2*time.Millisecond, 20*time.Millisecond
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// usersFor returns the users of the logins for an image.
func usersFor(t *testing.T, s *Secrets, image string) (string, error) {
	t.Helper()
	registry, _, _ := strings.Cut(image, "/")
	logins, err := s.Logins(t.Context(), Challenge{Host: registry, Repository: image})
	var users []string
	for _, l := range logins {
		if l.Secret != "geheim" {
			t.Errorf("the password of %s is %q", l.User, l.Secret)
		}
		users = append(users, l.User)
	}
	return strings.Join(users, " "), err
}

func waitForUsers(t *testing.T, s *Secrets, image, want string) {
	t.Helper()
	got := ""
	waittest.For(t, "the users "+want, func() bool {
		got, _ = usersFor(t, s, image)
		return got == want
	})
}

// All pull secrets of a namespace, of both types, and no other ones, by a role in that
// namespace. What changes is known at once.
func TestSecretsOfNamespace(t *testing.T) {
	api := newAPIServer(t, "list team/", "watch team/")
	for _, n := range []string{"a", "b", "c"} {
		api.set("team/"+n, typeConfigJSON, "registry.example", n)
	}
	api.set("team/d", typeConfig, "registry.example", "d")
	api.set("team/e", "Opaque", "registry.example", "e")
	api.set("other/f", typeConfigJSON, "registry.example", "f")
	s := secretsOf(t, api.kubeconfig("{token: api-token}"), "team")
	if got, err := usersFor(t, s, "registry.example/x"); got != "a b c d" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := usersFor(t, s, "other.example/x"); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	api.set("team/b", typeConfigJSON, "registry.example/x", "b2")
	waitForUsers(t, s, "registry.example/x", "b2 a c d")
	api.set("team/a", typeConfigJSON, "registry.example", "")
	waitForUsers(t, s, "registry.example/x", "b2 c d")
	api.set("team/g", typeConfig, "registry.example", "g")
	waitForUsers(t, s, "registry.example/x", "b2 c d g")
	for _, q := range api.requests() {
		if q != "list team/" && q != "watch team/" {
			t.Errorf("a request to %s", q)
		}
	}
}

// A secret is read by its name, which needs no right to list; without the right to watch it is
// read again and again.
func TestSecretByName(t *testing.T) {
	for _, allowed := range [][]string{{"get team/a", "watch team/a"}, {"get team/a"}} {
		api := newAPIServer(t, allowed...)
		api.set("team/a", typeConfigJSON, "registry.example", "a")
		api.set("team/b", typeConfigJSON, "registry.example", "b")
		s := secretsOf(t, api.kubeconfig("{token: api-token}"), "team/a")
		if got, err := usersFor(t, s, "registry.example/x"); got != "a" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		api.set("team/a", typeConfigJSON, "registry.example", "")
		waitForUsers(t, s, "registry.example/x", "")
		api.set("team/a", typeConfigJSON, "registry.example", "again")
		waitForUsers(t, s, "registry.example/x", "again")
		for _, q := range api.requests() {
			if !slices.Contains([]string{"get team/a", "watch team/a"}, q) {
				t.Errorf("a request to %s", q)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What cannot be read is an error, and no obstacle for what can be.
func TestSecretsThatAreForbidden(t *testing.T) {
	api := newAPIServer(t, "get team/a", "watch team/a")
	api.set("team/a", typeConfigJSON, "registry.example", "a")
	s := secretsOf(t, api.kubeconfig("{token: api-token}"), "team/a", "other")
	got, err := usersFor(t, s, "registry.example/x")
	if got != "a" || err == nil || err.Error() != "secrets of other: 403 Forbidden\nsecrets of other: 403 Forbidden" {
		t.Errorf("%q, %v", got, err)
	}
	api.with(func() { api.mu.allowed["list other/"], api.mu.allowed["watch other/"] = true, true })
	waittest.For(t, "the right to read them", func() bool {
		_, err := usersFor(t, s, "registry.example/x")
		return err == nil
	})
}

// Errors of the API server, and its absence, are got over; what is known stays meanwhile.
func TestSecretsSurviveTheAPIServer(t *testing.T) {
	api := newAPIServer(t, "list team/", "watch team/")
	api.set("team/a", typeConfigJSON, "registry.example", "a")
	s := secretsOf(t, api.kubeconfig("{token: api-token}"), "team")
	waitForUsers(t, s, "registry.example/x", "a")
	for name, answer := range map[string]http.HandlerFunc{
		"500":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("geheim")) },
		"closes":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"gone":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) },
		"gone later": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"type": "ERROR", "object": {}}`))
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			api.with(func() {
				api.mu.answer = func(w http.ResponseWriter, r *http.Request) bool {
					api.with(func() { asked++ })
					answer(w, r)
					return true
				}
			})
			api.CloseClientConnections()
			waittest.For(t, "some requests", func() bool {
				n := 0
				api.with(func() { n = asked })
				return n > 6
			})
			if got, err := usersFor(t, s, "registry.example/x"); got == "" || err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("%q, %v", got, err)
			}
			api.set("team/a", typeConfigJSON, "registry.example", name)
			api.with(func() { api.mu.answer = nil })
			waitForUsers(t, s, "registry.example/x", name)
		})
	}
}

// The ways in which a kubeconfig says who the user is. Files are read again with each
// connection.
func TestUsersOfKubeconfig(t *testing.T) {
	dir := t.TempDir()
	token, program := filepath.Join(dir, "token"), filepath.Join(dir, "program")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(token, "api-token\n")
	write(program, `#!/bin/sh
[ "$1 $EXTRA" = "get x" ] || exit 1
case $KUBERNETES_EXEC_INFO in *ExecCredential*) ;; *) exit 2 ;; esac
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "api-token"}}'
`)
	certificate, key := newCertificate(t)
	write(filepath.Join(dir, "certificate"), certificate)
	write(filepath.Join(dir, "key"), key)
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, user := range map[string]string{
		"certificate": "{client-certificate-data: " + encode(certificate) + ", client-key-data: " + encode(key) + "}",
		"its files":   "{client-certificate: " + dir + "/certificate, client-key: " + dir + "/key}",
		"token":       "{token: api-token}",
		"file":        "{tokenFile: " + token + "}",
		"exec":        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: " + program + ", args: [get], env: [{name: EXTRA, value: x}]}}",
	} {
		t.Run(name, func(t *testing.T) {
			api := newAPIServer(t, "get team/a", "watch team/a")
			api.set("team/a", typeConfigJSON, "registry.example", "a")
			s := secretsOf(t, api.kubeconfig(user), "team/a")
			if got, err := usersFor(t, s, "registry.example/x"); got != "a" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if name != "file" {
				return
			}
			api.with(func() { api.mu.token = "other-token" })
			write(token, "other-token")
			api.set("team/a", typeConfigJSON, "registry.example", "b")
			api.CloseClientConnections()
			waitForUsers(t, s, "registry.example/x", "b")
		})
	}
}

// newCertificate returns a certificate and its key, in PEM.
func newCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// A kubeconfig that cannot be used is an error without anything of the file.
func TestWrongKubeconfigs(t *testing.T) {
	const secret = "hunter2"
	api := newAPIServer(t)
	good, err := os.ReadFile(api.kubeconfig("{token: " + secret + "}"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		secret + ": [": "not understood",
		strings.ReplaceAll(string(good), "current-context: here", "current-context: nowhere"):                                                         `no context "nowhere"`,
		strings.ReplaceAll(string(good), "cluster: cluster", "cluster: none"):                                                                         `no cluster "none"`,
		strings.ReplaceAll(string(good), "https://", "http://"):                                                                                       "begins with https",
		strings.ReplaceAll(string(good), "certificate-authority-data: ", "proxy-url: a, x: "):                                                         "proxy-url",
		strings.ReplaceAll(string(good), "authority-data: ", "authority: /none, x: "):                                                                 "no such file",
		strings.ReplaceAll(string(good), "{token: hunter2}", "{client-certificate-data: aGFsbG8=, client-key-data: aGFsbG8=}"):                        "are no pair",
		strings.ReplaceAll(string(good), "{token: hunter2}", "{tokenFile: none}"):                                                                     "no such file",
		strings.ReplaceAll(string(good), "{token: hunter2}", "{exec: {apiVersion: a, command: b}}"):                                                   "apiVersion is not known",
		strings.ReplaceAll(string(good), "{token: hunter2}", "{exec: {apiVersion: client.authentication.k8s.io/v1, command: \"false\"}}"):             "exit status 1",
		strings.ReplaceAll(string(good), "{token: hunter2}", "{exec: {apiVersion: client.authentication.k8s.io/v1, command: echo, args: [hunter2]}}"): "answer not understood",
		strings.ReplaceAll(string(good), "authority-data: ", "x: "):                                                                                   "certificate",
	} {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := usersFor(t, secretsOf(t, path, "team/a"), "registry.example/x")
		if got != "" || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q, %v, want %s", got, err, want)
		}
	}
}

// The token is sent to the server of the kubeconfig alone.
func TestTokenStaysWithTheAPIServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another server was asked") }))
	defer other.Close()
	api := newAPIServer(t)
	api.mu.answer = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		return true
	}
	if got, err := usersFor(t, secretsOf(t, api.kubeconfig("{token: api-token}"), "team/a"), "registry.example/x"); got != "" || !errors.Is(err, statusError(http.StatusTemporaryRedirect)) {
		t.Errorf("%q, %v", got, err)
	}
}

// Entries of pull secrets as kubelet reads them; what is not understood is left out.
func TestEntriesOfSecrets(t *testing.T) {
	text := `{"auths": {"a": {"username": "u", "password": "p"}, "b": {"auth": "dTpwOnE"}, "c": {"auth": "dTpwOnE=", "username": "x"},
		"d": {"auth": "?"}, "e": {"auth": "dQ=="}, "f": {"email": "e"}}}`
	s := secret{Type: typeConfigJSON, Data: map[string][]byte{".dockerconfigjson": []byte(text)}}
	k, ok := s.keyring()
	if !ok || len(k.entries) != 3 {
		t.Fatalf("%d entries, %v", len(k.entries), ok)
	}
	for host, want := range map[string]string{"a": "p", "b": "p:q", "c": "p:q"} {
		if l := k.lookup(host + "/x"); len(l) != 1 || l[0].User != "u" || l[0].Secret != want {
			t.Errorf("%s: %d, want %s", host, len(l), want)
		}
	}
	for _, s := range []secret{
		{Type: "Opaque", Data: map[string][]byte{".dockerconfigjson": []byte(text)}},
		{Type: typeConfigJSON, Data: map[string][]byte{".dockerconfigjson": []byte("geheim")}},
		{Type: typeConfig},
	} {
		if _, ok := s.keyring(); ok {
			t.Errorf("%v is a pull secret", s.Type)
		}
	}
}
