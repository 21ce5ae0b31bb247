package auth

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// apiServer is the part of a Kubernetes API server that has secrets, with HTTPS on the
// loopback device. It serves lists by pages, and watches.
type apiServer struct {
	*httptest.Server
	t *testing.T

	// mu guards what follows.
	mu struct {
		sync.Mutex
		secrets  map[string]*object // by "namespace/name"
		version  int
		events   []change
		changed  chan struct{}   // closed when there is one event more
		token    string          // that a request must have
		allowed  map[string]bool // "verb namespace/name"; an empty name is all of a namespace
		requests []string        // the same of all requests
		answer   func(w http.ResponseWriter, r *http.Request) bool
	}
}

type object struct {
	Kind     string            `json:"kind"`
	Metadata map[string]string `json:"metadata"`
	Type     string            `json:"type"`
	Data     map[string]string `json:"data"` // base64
}

type change struct {
	Type   string  `json:"type"`
	Object *object `json:"object"`
	key    string
}

func newAPIServer(t *testing.T, allowed ...string) *apiServer {
	s := &apiServer{t: t}
	s.mu.secrets, s.mu.changed, s.mu.token, s.mu.version = map[string]*object{}, make(chan struct{}), "api-token", 10
	s.mu.allowed = map[string]bool{}
	for _, a := range allowed {
		s.mu.allowed[a] = true
	}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // connections are closed on purpose
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// set stores a pull secret for a location; without a user it is deleted.
func (s *apiServer) set(key, kind, location, user string) {
	auths := fmt.Sprintf(`{%q: {"auth": %q}}`, location, base64.StdEncoding.EncodeToString([]byte(user+":geheim")))
	data := map[string]string{".dockercfg": auths}
	if kind != typeConfig {
		data = map[string]string{".dockerconfigjson": `{"auths": ` + auths + `}`}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.version++
	_, name, _ := strings.Cut(key, "/")
	o := &object{Kind: "Secret", Metadata: map[string]string{"name": name, "resourceVersion": strconv.Itoa(s.mu.version)}, Type: kind, Data: map[string]string{}}
	for k, v := range data {
		o.Data[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	e := change{"ADDED", o, key}
	switch {
	case user == "":
		e.Type = "DELETED"
		delete(s.mu.secrets, key)
	case s.mu.secrets[key] != nil:
		e.Type = "MODIFIED"
		s.mu.secrets[key] = o
	default:
		s.mu.secrets[key] = o
	}
	s.mu.events = append(s.mu.events, e)
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

// with calls use under the lock.
func (s *apiServer) with(use func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	use()
}

func (s *apiServer) requests() (requests []string) {
	s.with(func() { requests = slices.Clone(s.mu.requests) })
	return requests
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	namespace, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/secrets")
	name = strings.TrimPrefix(name, "/")
	q := r.URL.Query()
	verb := "get"
	selected, byName := strings.CutPrefix(q.Get("fieldSelector"), "metadata.name=")
	switch {
	case q.Get("watch") != "":
		verb = "watch"
	case name == "":
		verb = "list"
	}
	if byName {
		name = selected
	}
	what := verb + " " + namespace + "/" + name
	s.mu.Lock()
	s.mu.requests = append(s.mu.requests, what)
	token, allowed, answer := s.mu.token, s.mu.allowed[what], s.mu.answer
	s.mu.Unlock()
	switch {
	case answer != nil && answer(w, r):
	case !ok || r.Method != http.MethodGet:
		s.t.Errorf("%s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusNotFound)
	case len(r.TLS.PeerCertificates) == 0 && r.Header.Get("Authorization") != "Bearer "+token:
		w.WriteHeader(http.StatusUnauthorized)
	case !allowed:
		w.WriteHeader(http.StatusForbidden)
	case verb == "watch":
		s.watch(w, r, namespace, q.Get("fieldSelector"))
	case verb == "list":
		s.list(w, namespace, q.Get("fieldSelector"), q.Get("continue"))
	default:
		s.get(w, namespace+"/"+name)
	}
}

func (s *apiServer) get(w http.ResponseWriter, key string) {
	s.mu.Lock()
	o := s.mu.secrets[key]
	s.mu.Unlock()
	if o == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(o)
}

// list has pages of two.
func (s *apiServer) list(w http.ResponseWriter, namespace, field, from string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var page struct {
		Kind     string            `json:"kind"`
		Metadata map[string]string `json:"metadata"`
		Items    []*object         `json:"items"`
	}
	page.Kind = "SecretList"
	page.Metadata = map[string]string{"resourceVersion": strconv.Itoa(s.mu.version)}
	var keys []string
	for key := range s.mu.secrets {
		if strings.HasPrefix(key, namespace+"/") && key > from && s.selects(field, s.mu.secrets[key]) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if len(keys) > 2 {
		keys = keys[:2]
		page.Metadata["continue"] = keys[1]
	}
	for _, key := range keys {
		page.Items = append(page.Items, s.mu.secrets[key])
	}
	_ = json.NewEncoder(w).Encode(page)
}

func (s *apiServer) selects(field string, o *object) bool {
	return field == "type="+o.Type || field == "metadata.name="+o.Metadata["name"]
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, namespace, field string) {
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for n := 0; ; {
		s.mu.Lock()
		events, changed := s.mu.events[n:], s.mu.changed
		n = len(s.mu.events)
		s.mu.Unlock()
		for _, e := range events {
			version, _ := strconv.Atoi(e.Object.Metadata["resourceVersion"])
			if version > since && strings.HasPrefix(e.key, namespace+"/") && s.selects(field, e.Object) {
				_ = json.NewEncoder(w).Encode(e)
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
	}
}

// kubeconfig writes a kubeconfig with the fields of a user, and returns its path.
func (s *apiServer) kubeconfig(user string) string {
	s.t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if _, err := x509.ParseCertificate(s.Certificate().Raw); err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: here
contexts:
- {name: there, context: {cluster: elsewhere, user: nobody}}
- {name: here, context: {cluster: cluster, user: ladle}}
clusters:
- name: elsewhere
  cluster: {server: "https://127.0.0.1:1"}
- name: cluster
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: ladle
  user: %s
`, s.URL, base64.StdEncoding.EncodeToString(ca), user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}
