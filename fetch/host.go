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
	// rangelessAfter is how often in a row a host must have ignored a range to
	// be remembered as one that serves none, and rangelessFor for how long it
	// is then asked after all others: proxying caches ignore ranges of what
	// they do not have yet. The same goes for ranges of the form "bytes=-n",
	// which a host is then not asked for.
	rangelessAfter = 3
	rangelessFor   = time.Minute
	suffixlessFor  = time.Hour
)

// host is a host of one registry and what it turned out to be unable to do.
type host struct {
	docker.RegistryHost
	registry string // as image references name it

	trouble  pace // failures that have little to do with what is asked for
	refusals pace // of single objects

	mu struct {
		sync.Mutex
		ignored    int       // ranges in a row that it ignored
		rangeless  time.Time // since when it counts as a host without ranges; zero: it does not
		unserved   int       // ranges of the form "bytes=-n" in a row that it did not serve
		suffixless time.Time // since when it counts as a host without those; zero: it does not
	}
}

// same reports whether h is configured as r is.
func (h *host) same(r docker.RegistryHost) bool {
	if a := reflect.ValueOf(r.Authorizer); a.IsValid() && !a.Comparable() {
		return false
	}
	return h.Client == r.Client && h.Authorizer == r.Authorizer && h.Scheme == r.Scheme &&
		h.Host == r.Host && h.Path == r.Path && h.Capabilities == r.Capabilities
}

// url returns the address of path, such as "/blobs/sha256:...", in repo. A
// host that stands in for another is told for which, as containerd does.
func (h *host) url(repo, path string) *url.URL {
	u := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: strings.TrimSuffix(h.Path, "/") + "/" + repo + path}
	if h.Host != h.registry && (h.registry != "docker.io" || h.Host != "registry-1.docker.io") {
		u.RawQuery = url.Values{"ns": {h.registry}}.Encode()
	}
	return u
}

// owns reports whether u is on the host itself, so that it may see its
// credentials and headers.
func (h *host) owns(u *url.URL) bool { return u.Scheme == h.Scheme && u.Host == h.Host }

// suffixless reports whether the host is not to be asked for ranges of the form
// "bytes=-n".
func (h *host) suffixless(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Sub(h.mu.suffixless) < suffixlessFor
}

// suffix says whether the host served a range of the form "bytes=-n".
func (h *host) suffix(served bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if served {
		h.mu.unserved = 0
	} else if h.mu.unserved++; h.mu.unserved >= rangelessAfter {
		h.mu.suffixless = now
	}
}

// rangeless returns since when the host counts as one without ranges; zero if
// it does not.
func (h *host) rangeless(now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.mu.rangeless) >= rangelessFor {
		return time.Time{}
	}
	return h.mu.rangeless
}

// ignoredRange says that the host ignored a range.
func (h *host) ignoredRange(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.ignored++; h.mu.ignored >= rangelessAfter {
		h.mu.rangeless = now
	}
}

// servedRange says that the host served a range.
func (h *host) servedRange() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.ignored, h.mu.rangeless = 0, time.Time{}
}
