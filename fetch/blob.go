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

// refusedFor is how long a host that refused a blob, or sent wrong bytes, is
// asked for it after all others.
const refusedFor = time.Minute

// Blob reads ranges of one blob. It may be used concurrently.
type Blob struct {
	client  *Client
	src     Source
	img     image
	invalid error // why src names no blob

	mu struct {
		sync.Mutex
		places map[*host]*place
	}
}

// place is what is known about a blob at a host. It is guarded by the blob's
// mutex.
type place struct {
	address *address  // where the host redirected to; nil if it did not
	refused time.Time // when it last refused the blob; zero: it did not
	why     error     // what it came to then
}

// place returns what is known about the blob at h, for the time in which f
// runs.
func (b *Blob) place(h *host, f func(*place)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.mu.places[h]
	if p == nil {
		p = new(place)
		b.mu.places[h] = p
	}
	f(p)
}

// redirected returns where h redirected the blob to, or nil.
func (b *Blob) redirected(h *host) (a *address) {
	b.place(h, func(p *place) { a = p.address })
	return a
}

// forget drops a, unless something else was remembered since.
func (b *Blob) forget(h *host, a *address) {
	b.place(h, func(p *place) {
		if p.address == a {
			p.address = nil
		}
	})
}

// refused returns when h refused the blob, or ranges of any blob, if that counts
// still; else zero.
func (b *Blob) refused(h *host) (at time.Time) {
	now := b.client.now()
	b.place(h, func(p *place) { at = p.refused })
	if now.Sub(at) >= refusedFor {
		at = time.Time{}
	}
	if since := h.rangeless(now); since.After(at) {
		at = since
	}
	return at
}

// plan returns a plan to ask the hosts that may have the blob, and ctx with
// what their authorizers need to know.
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

// prune drops what is known about hosts that are no longer configured.
func (b *Blob) prune(hosts []*host) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.mu.places, func(h *host, _ *place) bool { return !slices.Contains(hosts, h) })
}

// get asks x.host for a range of the blob, at the place where it was before if
// there is one. It returns any answer of the last server that was asked.
func (b *Blob) get(x *exchange, rng string) (*http.Response, error) {
	head := http.Header{"Range": {rng}}
	for range 2 { // after the first, another read may have found the new place already
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
	resp, a, err := x.ask(question{b.img.repo, path, head})
	if err == nil && delivered(resp.StatusCode) && *a.URL != *x.host.url(b.img.repo, path) {
		b.place(x.host, func(p *place) { p.address = a })
	}
	return resp, err
}

// delivered reports whether an answer has to do with the bytes of the blob.
func delivered(status int) bool {
	return status == http.StatusOK || status == http.StatusPartialContent ||
		status == http.StatusRequestedRangeNotSatisfiable
}

// expired reports whether a remembered address may have lost its validity: S3
// and others say 400 or 403 for a signature that is too old.
func expired(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// failed says that h came to err before it sent much. Where it redirected to is
// asked for anew, and if it refused the blob it is asked after others for a while.
func (b *Blob) failed(h *host, err error) {
	b.place(h, func(p *place) {
		p.address = nil
		if errorOf(err).final {
			p.refused, p.why = b.client.now(), err
		}
	})
}

// delivers says that h sends bytes of the blob, for which it was asked then. That
// it was found since to send wrong ones stays.
func (b *Blob) delivers(h *host, then time.Time) {
	b.place(h, func(p *place) {
		if p.refused.Before(then) {
			p.refused, p.why = time.Time{}, nil
		}
	})
}

// Link returns the present estimate of the way to where the blob is read from.
func (b *Blob) Link() Link {
	if b.invalid != nil {
		return Link{}
	}
	hosts := capable(b.client.known.get(b.img.Locator).hosts, docker.HostCapabilityPull)
	if len(hosts) == 0 {
		return Link{} // nothing was read from the repository yet
	}
	h := b.client.plan(b.img, hosts, b.refused).host()
	if a := b.redirected(h); a != nil {
		return b.client.links.link(a.Host)
	}
	return b.client.links.link(h.Host)
}

// Failure returns what the hosts of the blob came to lately, if all of them
// refused it or are failing; else nil.
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
			b.place(h, func(p *place) { why = p.why })
		}
		if why == nil {
			return nil
		}
		all = append(all, why)
	}
	if len(all) == 0 {
		return nil // nothing was read from the repository yet
	}
	return all
}

// Range returns the n bytes at off. The reader yields exactly n bytes or an
// error; when a connection breaks it goes on where it stood, at the next host
// if need be. The caller closes it. ctx ends the read, too.
//
// An error matches one of ErrNotFound, ErrUnauthorized, ErrUnavailable and
// ErrNoRanges, or the cause of ctx's end.
func (b *Blob) Range(ctx context.Context, off, n int64) (*Reader, error) {
	r, err := b.open(ctx, off, n)
	if err != nil {
		return nil, blobError(b.src.Digest, fmt.Sprintf("[%d,%d)", off, off+n), err)
	}
	return r, nil
}
