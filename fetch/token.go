package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker/auth"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
)

const (
	// tokenTimeout bounds the request of a token.
	tokenTimeout = 30 * time.Second

	// maxToken bounds the answer of a token server, in bytes.
	maxToken = 1 << 20

	// clientID identifies ladle to an OAuth 2 token server.
	clientID = "ladle"
)

// token is a bearer token; the zero value is none.
type token struct {
	value   string
	renewAt time.Time // zero: renewed when it is refused
}

func (t token) valid(now time.Time) bool {
	return t.value != "" && (t.renewAt.IsZero() || now.Before(t.renewAt))
}

// tokenSource fetches tokens (distribution.github.io/distribution/spec/auth).
type tokenSource struct {
	client *http.Client
	header http.Header // of each request
	now    func() time.Time
}

// newTokenSource returns a source that uses client, and follows redirections on the same
// host only, none of them to plain HTTP.
func newTokenSource(client *http.Client, header http.Header) tokenSource {
	c := *client
	c.Transport = bounded{client.Transport, maxToken}
	c.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if len(via) > maxHops || next.URL.Host != via[0].URL.Host || next.URL.Scheme == "http" && via[0].URL.Scheme != "http" {
			return errors.New("token server redirects to another server") // which would get the credentials
		}
		return nil
	}
	return tokenSource{&c, header, time.Now}
}

// fetch fetches a token: with an identity token by POST (OAuth 2); with a password or
// without credentials by GET, which all servers support, or else by POST.
func (s tokenSource) fetch(ctx context.Context, want auth.TokenOptions) (token, error) {
	if want.Secret != "" && want.Username == "" {
		return s.post(ctx, want)
	}
	got, err := auth.FetchToken(ctx, s.client, s.header, want)
	if err == nil {
		return s.token(got.Token, time.Duration(got.ExpiresInSeconds)*time.Second), nil
	}
	if e := (remoteerrors.ErrUnexpectedStatus{}); want.Secret != "" && errors.As(err, &e) {
		if e.StatusCode == http.StatusNotFound || e.StatusCode == http.StatusMethodNotAllowed {
			return s.post(ctx, want)
		}
	}
	return token{}, tokenError(want.Realm, err)
}

func (s tokenSource) post(ctx context.Context, want auth.TokenOptions) (token, error) {
	got, err := auth.FetchTokenWithOAuth(ctx, s.client, s.header, clientID, want)
	if err != nil {
		return token{}, tokenError(want.Realm, err)
	}
	return s.token(got.AccessToken, time.Duration(got.ExpiresInSeconds)*time.Second), nil
}

// token returns a token that is renewed before its end: by a tenth of its life, at most
// ten seconds.
func (s tokenSource) token(value string, life time.Duration) token {
	if life <= 0 {
		return token{value: value}
	}
	return token{value, s.now().Add(life - min(life/10, 10*time.Second))}
}

// tokenError returns the error of a token request without URL and body, which can contain
// credentials.
func tokenError(realm string, err error) *Error {
	server := "token server"
	if u, parseErr := url.Parse(realm); parseErr == nil {
		server = u.Host
	}
	var status remoteerrors.ErrUnexpectedStatus
	if !errors.As(err, &status) {
		e := broken("token", server, err)
		e.final = errors.Is(err, auth.ErrNoToken)
		e.unanswered = !e.final
		return e
	}
	answer := &http.Response{
		StatusCode: status.StatusCode,
		Header:     http.Header{},
		Body:       http.NoBody,
		Request:    &http.Request{Method: "token", URL: &url.URL{Host: server}},
	}
	e := refusal(answer, false, false)
	if e.final && e.Kind != ErrUnauthorized {
		e.Kind = ErrUnauthorized // 400 and 404, too, mean that no token is granted
	}
	return e
}

// bounded is a transport that limits the bodies of answers to limit bytes.
type bounded struct {
	http.RoundTripper
	limit int64
}

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	next := b.RoundTripper
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, b.limit), resp.Body}
	}
	return resp, err
}
