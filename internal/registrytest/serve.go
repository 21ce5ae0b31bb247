package registrytest

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serveFront answers as registry and as token server.
func (r *Registry) serveFront(w http.ResponseWriter, req *http.Request) {
	q := Request{
		Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery,
		Range: req.Header.Get("Range"), Header: req.Header.Clone(), Remote: req.RemoteAddr,
	}
	if req.URL.Path == "/token" {
		q.Kind, q.Generation = Token, atoi(req.URL.Query().Get("generation"))+1
		r.serveToken(w, req, q)
		return
	}
	repo, kind, name := split(req.URL.Path)
	q.Kind, q.Generation = kind, 1
	if kind == Blob {
		q.Digest = digest.Digest(name)
	}
	token, generation, ok := r.admit(req)
	if token != "" {
		q.Generation = generation + 1
	}
	fault := r.record(q)
	if r.broken(w, req, fault) {
		return
	}
	if !ok {
		r.challenge(w, req, repo, q.Generation)
		return
	}
	r.serveContent(w, req, q, fault)
}

func (r *Registry) serveContent(w http.ResponseWriter, req *http.Request, q Request, fault Fault) {
	repo, _, name := split(req.URL.Path)
	switch q.Kind {
	case Blob:
		b, ok := r.blob(name)
		if !ok {
			http.Error(w, `{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}`, http.StatusNotFound)
			return
		}
		if r.opts.Redirect {
			u := fmt.Sprintf("%s/data/%s?generation=%d&signature=%d", r.storage.URL, name, q.Generation, r.epoch())
			http.Redirect(w, req, u, http.StatusTemporaryRedirect)
			return
		}
		r.serveBlob(w, req, b, fault)
	case Manifest:
		m, ok := r.manifest(repo, name)
		if !ok {
			http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", m.mediaType)
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(m.body).String())
		r.body(w, req, m.body, fault)
	case Referrer:
		if !r.opts.Referrers {
			http.NotFound(w, req)
			return
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		r.body(w, req, r.referrers(digest.Digest(name)), fault)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// serveStorage answers as the server that blobs are redirected to.
func (r *Registry) serveStorage(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimPrefix(req.URL.Path, "/data/")
	values := req.URL.Query()
	fault := r.record(Request{
		Kind: Storage, Generation: atoi(values.Get("generation")) + 1,
		Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery, Digest: digest.Digest(name),
		Range: req.Header.Get("Range"), Header: req.Header.Clone(), Remote: req.RemoteAddr,
	})
	if r.broken(w, req, fault) {
		return
	}
	if req.Header.Get("Authorization") != "" {
		http.Error(w, "only one way of authorization is allowed", http.StatusBadRequest) // as S3 does
		return
	}
	b, ok := r.blob(name)
	switch {
	case values.Get("signature") != strconv.Itoa(r.epoch()):
		http.Error(w, "request has expired", http.StatusForbidden)
	case r.opts.Referer && !strings.HasPrefix(req.Header.Get("Referer"), r.front.URL+"/"):
		http.Error(w, "no referer of the registry", http.StatusUnauthorized)
	case !ok:
		http.NotFound(w, req)
	default:
		r.serveBlob(w, req, b, fault)
	}
}

// broken answers a request whose fault leaves no room for an answer.
func (r *Registry) broken(w http.ResponseWriter, req *http.Request, f Fault) bool {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.closing:
		}
	}
	if f.Stall != nil && *f.Stall < 0 {
		r.hang(req)
		return true
	}
	if f.Close != nil && *f.Close < 0 {
		panic(http.ErrAbortHandler)
	}
	if f.Status == 0 || f.Status == http.StatusOK {
		return false
	}
	f.setHeader(w)
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	http.Error(w, http.StatusText(f.Status), f.Status)
	return true
}

// hang returns when the client has gone or the registry ends.
func (r *Registry) hang(req *http.Request) {
	select {
	case <-req.Context().Done():
	case <-r.closing:
	}
	panic(http.ErrAbortHandler)
}

func (r *Registry) epoch() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.epoch
}

// split takes "/v2/REPOSITORY/blobs/NAME" apart.
func split(path string) (repo string, kind Kind, name string) {
	path = strings.TrimPrefix(path, "/v2/")
	for part, kind := range map[string]Kind{"/blobs/": Blob, "/manifests/": Manifest, "/referrers/": Referrer} {
		if repo, name, ok := strings.Cut(path, part); ok {
			return repo, kind, name
		}
	}
	return "", Other, path
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
