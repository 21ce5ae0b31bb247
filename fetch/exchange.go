package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	// maxHops bounds a chain of redirections.
	maxHops = 5

	userAgent = "ladle"
)

// query is a request of an object from a host.
type query struct {
	repo string
	path string      // "/blobs/DIGEST", "/manifests/NAME" or "/referrers/DIGEST"
	head http.Header // Range or Accept
}

// exchange sends requests to one host on behalf of one read. dog watches each of them.
type exchange struct {
	client *Client
	host   *host
	dog    *watchdog
}

// ask sends q to the host itself and follows redirections. It returns the answer, of any
// status, and its address.
func (x *exchange) ask(q query) (*http.Response, *address, error) {
	a := &address{URL: x.host.url(q.repo, q.path)}
	origin := a.URL
	for range maxHops {
		resp, err := x.send(a, q.head)
		if err != nil {
			return nil, nil, err
		}
		next, err := redirection(resp)
		if err != nil {
			discard(resp.Body)
			return nil, nil, &Error{Op: "GET", Host: a.Host, Status: resp.StatusCode, Kind: ErrUnavailable, Message: err.Error(), final: true}
		}
		if next == nil {
			return resp, a, nil
		}
		discard(resp.Body)
		a = &address{next, referer(origin, a.URL, next)}
	}
	return nil, nil, &Error{Op: "GET", Host: a.Host, Kind: ErrUnavailable, Message: "too many redirections", final: true}
}

// address is the target of a request.
type address struct {
	*url.URL
	referer string // header of the request (RFC 9110 section 10.1.3); "": none
}

// referer returns the Referer header of a request to next, to which the server at last
// redirects a request that began at origin, the host.
//
// Go's HTTP client, and with it containerd's, sends the previous address, without user
// and password, and none from HTTPS to plain HTTP; some storage servers require the
// header. This client always sends the address at the host, which contains no secret: the
// query of a later address may contain a signature.
func referer(origin, last, next *url.URL) string {
	if next.Scheme == "http" && (last.Scheme == "https" || origin.Scheme == "https") {
		return ""
	}
	return origin.String()
}

// redirection returns the address to which resp redirects, or nil if it does not.
func redirection(resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	u, err := resp.Location()
	if err != nil {
		return nil, errors.New("redirected to no valid address")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("redirected to scheme %q", u.Scheme)
	}
	return u, nil
}

// send sends one GET. At the host itself it answers challenges, with one login after the
// other while these are refused; another server receives neither the host's credentials nor
// its headers.
func (x *exchange) send(a *address, head http.Header) (*http.Response, error) {
	if !x.host.owns(a.URL) {
		return x.roundTrip(a, head, false)
	}
	resp, err := x.roundTrip(a, head, true)
	var refused []*http.Response
	for err == nil && resp.StatusCode == http.StatusUnauthorized && x.host.Authorizer != nil && len(refused) < maxLogins {
		refused = append(refused, resp)
		err = x.host.Authorizer.AddResponses(x.dog.ctx, refused)
		discard(resp.Body)
		if err != nil {
			return nil, &Error{Op: "GET", Host: a.Host, Status: resp.StatusCode, Kind: ErrUnauthorized, Cause: err, final: true}
		}
		resp, err = x.roundTrip(a, head, true)
	}
	if err == nil {
		x.judge(resp)
	}
	return resp, err
}

// judge tells the authorizer whether the host accepted the authorization of a request. Some
// registries answer 403 to an expired token.
func (x *exchange) judge(resp *http.Response) {
	j, ok := x.host.Authorizer.(interface {
		Accepted(*http.Request)
		Forbidden(*http.Request)
	})
	switch {
	case !ok:
	case resp.StatusCode == http.StatusForbidden:
		j.Forbidden(resp.Request)
	case resp.StatusCode < http.StatusBadRequest:
		j.Accepted(resp.Request)
	}
}

// roundTrip sends one request and returns its answer without following a redirection.
func (x *exchange) roundTrip(a *address, head http.Header, trusted bool) (*http.Response, error) {
	var written atomic.Int64 // end of the request, in nanoseconds since start
	start := time.Now()
	ctx := httptrace.WithClientTrace(x.dog.ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { written.Store(int64(time.Since(start))) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.String(), nil)
	if err != nil {
		return nil, broken("GET", a.Host, err)
	}
	if trusted {
		req.Header = x.host.Header.Clone()
		if req.Header == nil {
			req.Header = http.Header{}
		}
	}
	for k, v := range head {
		req.Header[k] = v
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", userAgent)
	}
	if a.referer != "" && req.Header.Get("Referer") == "" {
		req.Header.Set("Referer", a.referer)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if trusted && x.host.Authorizer != nil {
		if err := x.host.Authorizer.Authorize(ctx, req); err != nil {
			return nil, broken("token", a.Host, x.dog.explain(err))
		}
	}
	x.dog.feed()
	resp, err := x.host.withoutRedirects().Do(req)
	if err != nil {
		e := broken("GET", a.Host, x.dog.explain(err))
		e.unanswered = true
		return nil, e
	}
	x.dog.feed()
	if w := written.Load(); w > 0 {
		x.client.links.update(a.Host, func(e *estimate) { e.trip(time.Since(start) - time.Duration(w)) })
	}
	return resp, nil
}

// withoutRedirects returns the host's HTTP client with redirections disabled.
func (h *host) withoutRedirects() *http.Client {
	var c http.Client
	if h.Client != nil {
		c = *h.Client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Jar = nil
	return &c
}

// watched returns an exchange with h that ends when it stalls.
func (c *Client) watched(ctx context.Context, h *host) *exchange {
	return &exchange{c, h, watch(ctx, c.opts.Timeout)}
}
