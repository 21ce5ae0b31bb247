package fetch

import (
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

const (
	// A host counts as rangeless after it has ignored rangelessAfter ranges in a
	// row: for rangelessFor it is tried after all others. (A proxying cache ignores
	// ranges of blobs that it does not have yet.) It counts as suffixless after it
	// has not served rangelessAfter ranges of the form "bytes=-n" in a row: for
	// suffixlessFor no such range is requested.
	rangelessAfter = 3
	rangelessFor   = time.Minute
	suffixlessFor  = time.Hour
)

// host is a host of one registry, with its known restrictions and failures.
type host struct {
	docker.RegistryHost
	registry string // the registry in image references

	trouble  pace // failures that do not depend on the object
	refusals pace // refusals of single objects

	mu struct {
		sync.Mutex
		ignored    int       // ignored ranges in a row
		rangeless  time.Time // since when the host counts as rangeless; zero: it does not
		unserved   int       // ranges "bytes=-n" in a row that were not served
		suffixless time.Time // since when the host counts as suffixless; zero: it does not
	}
}

// same reports whether h has the configuration r.
func (h *host) same(r docker.RegistryHost) bool {
	if a := reflect.ValueOf(r.Authorizer); a.IsValid() && !a.Comparable() {
		return false
	}
	return h.Client == r.Client && h.Authorizer == r.Authorizer && h.Scheme == r.Scheme &&
		h.Host == r.Host && h.Path == r.Path && h.Capabilities == r.Capabilities
}

// url returns the address of path, such as "/blobs/sha256:...", in repo. A mirror gets
// the name of the registry in the query, as from containerd.
func (h *host) url(repo, path string) *url.URL {
	u := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: strings.TrimSuffix(h.Path, "/") + "/" + repo + path}
	if h.Host != h.registry && (h.registry != "docker.io" || h.Host != "registry-1.docker.io") {
		u.RawQuery = url.Values{"ns": {h.registry}}.Encode()
	}
	return u
}

// owns reports whether u is on the host itself, so that a request may carry its
// credentials and headers.
func (h *host) owns(u *url.URL) bool { return u.Scheme == h.Scheme && u.Host == h.Host }

// suffixless reports whether the host counts as suffixless.
func (h *host) suffixless(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Sub(h.mu.suffixless) < suffixlessFor
}

// suffix records whether the host served a range of the form "bytes=-n".
func (h *host) suffix(served bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if served {
		h.mu.unserved = 0
	} else if h.mu.unserved++; h.mu.unserved >= rangelessAfter {
		h.mu.suffixless = now
	}
}

// rangeless returns since when the host counts as rangeless; zero if it does not.
func (h *host) rangeless(now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.mu.rangeless) >= rangelessFor {
		return time.Time{}
	}
	return h.mu.rangeless
}

// ignoredRange records that the host ignored a range.
func (h *host) ignoredRange(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.ignored++; h.mu.ignored >= rangelessAfter {
		h.mu.rangeless = now
	}
}

// servedRange records that the host served a range.
func (h *host) servedRange() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.ignored, h.mu.rangeless = 0, time.Time{}
}
