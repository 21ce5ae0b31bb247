package fetch

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// refusedFor is how long a host that refused a blob, or sent wrong bytes, is tried for
// this blob after all others.
const refusedFor = time.Minute

// Blob reads ranges of one blob. It may be used concurrently.
type Blob struct {
	client  *Client
	src     Source
	img     image
	invalid error // of parsing src

	mu struct {
		sync.Mutex
		states map[*host]*hostState
	}
}

// hostState is what is known about the blob at a host. It is guarded by the blob's mutex.
type hostState struct {
	address *address  // target of the host's redirection; nil: none
	refused time.Time // time of the last refusal; zero: none
	why     error     // of that refusal
}

// withState calls f with the state of the blob at h, with the mutex held.
func (b *Blob) withState(h *host, f func(*hostState)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.mu.states[h]
	if p == nil {
		p = new(hostState)
		b.mu.states[h] = p
	}
	f(p)
}

// redirected returns the cached address to which h redirected the blob, or nil.
func (b *Blob) redirected(h *host) (a *address) {
	b.withState(h, func(p *hostState) { a = p.address })
	return a
}

// forget removes a from the cache, unless another address has replaced it.
func (b *Blob) forget(h *host, a *address) {
	b.withState(h, func(p *hostState) {
		if p.address == a {
			p.address = nil
		}
	})
}

// refused returns when h last refused the blob, or ranges of any blob; zero if that is
// too long ago to count.
func (b *Blob) refused(h *host) (at time.Time) {
	now := b.client.now()
	b.withState(h, func(p *hostState) { at = p.refused })
	if now.Sub(at) >= refusedFor {
		at = time.Time{}
	}
	if since := h.rangeless(now); since.After(at) {
		at = since
	}
	return at
}

// plan returns a plan for the hosts of the blob, and ctx with the values for their
// authorizers.
func (b *Blob) plan(ctx context.Context) (context.Context, *plan, error) {
	if b.invalid != nil {
		return nil, nil, b.invalid
	}
	hosts, err := b.client.hosts(ctx, b.img, docker.HostCapabilityPull)
	if err != nil {
		return nil, nil, err
	}
	b.prune(hosts)
	if ctx, err = b.img.scoped(ctx); err != nil {
		return nil, nil, err
	}
	return ctx, b.client.plan(b.img, hosts, b.refused), nil
}

// prune drops the states of hosts that are not configured any more.
func (b *Blob) prune(hosts []*host) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.mu.states, func(h *host, _ *hostState) bool { return !slices.Contains(hosts, h) })
}

// get requests a range of the blob from x.host, or all of it if rng is empty, at the cached
// address if there is one. It returns any answer of the last server.
func (b *Blob) get(x *exchange, rng string) (*http.Response, error) {
	head := http.Header{}
	if rng != "" {
		head.Set("Range", rng)
	}
	for range 2 { // after the first, another read may have cached a new address
		a := b.redirected(x.host)
		if a == nil {
			break
		}
		resp, err := x.send(a, head)
		if err == nil && resp.StatusCode < 500 && !expired(resp.StatusCode) {
			return resp, nil
		}
		b.forget(x.host, a)
		if err != nil || resp.StatusCode >= 500 {
			return resp, err // a retry asks the host itself
		}
		discard(resp.Body)
	}
	path := "/blobs/" + string(b.src.Digest)
	resp, a, err := x.ask(query{b.img.repo, path, head})
	if err == nil && delivered(resp.StatusCode) && *a.URL != *x.host.url(b.img.repo, path) {
		b.withState(x.host, func(p *hostState) { p.address = a })
	}
	return resp, err
}

// delivered reports whether a status answers a request for bytes of the blob.
func delivered(status int) bool {
	return status == http.StatusOK || status == http.StatusPartialContent ||
		status == http.StatusRequestedRangeNotSatisfiable
}

// expired reports whether the status means that a cached address may have expired: S3 and
// others answer 400 or 403 to an expired signature.
func expired(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// failed records an error of h before it sent much. The cached address is dropped; after
// a refusal the host is tried after the others for refusedFor.
func (b *Blob) failed(h *host, err error) {
	b.withState(h, func(p *hostState) {
		p.address = nil
		if errorOf(err).final {
			p.refused, p.why = b.client.now(), err
		}
	})
}

// delivers records that h sends bytes of the blob for a request at the time then. It
// clears an earlier refusal, but not a later one: the host may have been blamed for wrong
// bytes since.
func (b *Blob) delivers(h *host, then time.Time) {
	b.withState(h, func(p *hostState) {
		if p.refused.Before(then) {
			p.refused, p.why = time.Time{}, nil
		}
	})
}

// Link returns the current estimate for the path to the server that the blob is read
// from.
func (b *Blob) Link() Link {
	h := b.first()
	if h == nil {
		return Link{}
	}
	if a := b.redirected(h); a != nil {
		return b.client.links.link(a.Host)
	}
	return b.client.links.link(h.Host)
}

// first returns the host that would be asked first; nil if the hosts of the repository are not
// known yet.
func (b *Blob) first() *host {
	if b.invalid != nil {
		return nil
	}
	hosts := capable(b.client.known.get(b.img.Locator).hosts, docker.HostCapabilityPull)
	if len(hosts) == 0 {
		return nil
	}
	return b.client.plan(b.img, hosts, b.refused).host()
}

// Failure returns the latest errors of the blob's hosts, if all of them refused it or are
// failing; else nil.
func (b *Blob) Failure() error {
	if b.invalid != nil {
		return b.invalid
	}
	var all hostErrors
	for _, h := range capable(b.client.known.get(b.img.Locator).hosts, docker.HostCapabilityPull) {
		if r := h.trouble.failed(b.client.now()); r.failures > 0 {
			all = append(all, r.last)
			continue
		}
		var why error
		if !b.refused(h).IsZero() {
			b.withState(h, func(p *hostState) { why = p.why })
		}
		if why == nil {
			return nil
		}
		all = append(all, why)
	}
	if len(all) == 0 {
		return nil // the hosts of the repository are not known yet
	}
	return all
}

// Range returns a reader of the n bytes at off, which yields exactly n bytes or an error.
// When a connection breaks, it continues at that offset, at the next host if necessary.
// The caller must close it. The read ends with ctx.
//
// An error matches one of ErrNotFound, ErrUnauthorized, ErrUnavailable and ErrNoRanges,
// or the cause of ctx's end.
func (b *Blob) Range(ctx context.Context, off, n int64) (*Reader, error) {
	return b.read(ctx, off, n, b.wholeLimit)
}

// read is Range with a limit of bytes to discard of a whole blob: see open.
func (b *Blob) read(ctx context.Context, off, n int64, skip func(*host) int64) (*Reader, error) {
	r, err := b.open(ctx, off, n, skip)
	if err != nil {
		return nil, blobError(b.src.Digest, fmt.Sprintf("[%d,%d)", off, off+n), err)
	}
	return r, nil
}
