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
	// rangelessFor is how long a host that ignored a range is not asked for
	// another: proxying caches ignore ranges of what they do not have yet.
	rangelessFor = time.Minute

	// downFor is how long a host that failed all retries is asked after all
	// others.
	downFor = 30 * time.Second
)

// host is a host of one registry and what it turned out to be unable to do.
type host struct {
	docker.RegistryHost
	registry string // as image references name it

	mu struct {
		sync.Mutex
		noSuffix  bool // ranges of the form "bytes=-n" are not served
		rangeless time.Time
		down      time.Time // both: until when
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

func (h *host) noSuffix() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.noSuffix
}

func (h *host) setNoSuffix() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.noSuffix = true
}

// rangeless reports whether the host is not to be asked for ranges now.
func (h *host) rangeless(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Before(h.mu.rangeless)
}

// setRangeless says that the host ignored a range, or that it served one.
func (h *host) setRangeless(ignored bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.rangeless = time.Time{}
	if ignored {
		h.mu.rangeless = now.Add(rangelessFor)
	}
}

func (h *host) down(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Before(h.mu.down)
}

// setDown says that the host failed all retries, or that it answered.
func (h *host) setDown(failed bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.down = time.Time{}
	if failed {
		h.mu.down = now.Add(downFor)
	}
}
