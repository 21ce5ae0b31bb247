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

	// clientID is who we are to an OAuth 2 token server.
	clientID = "ladle"
)

// token is a bearer token. The zero value is none.
type token struct {
	value   string
	renewAt time.Time // zero: when it is refused
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

// newTokenSource returns a source that sends its requests through client,
// and follows redirections on the same host only, none of them to plain HTTP.
func newTokenSource(client *http.Client, header http.Header) tokenSource {
	c := *client
	c.Transport = bounded{client.Transport, maxToken}
	c.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if len(via) > maxHops || next.URL.Host != via[0].URL.Host || next.URL.Scheme == "http" && via[0].URL.Scheme != "http" {
			return errors.New("token server redirects elsewhere") // with the credentials
		}
		return nil
	}
	return tokenSource{&c, header, time.Now}
}

// fetch fetches a token: with an identity token as OAuth 2 wants it, by POST,
// and with a password or without credentials by GET, which all servers know,
// or else also by POST.
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

// token returns a token that is renewed a tenth of its life, but at most ten
// seconds, before its end.
func (s tokenSource) token(value string, life time.Duration) token {
	if life <= 0 {
		return token{value: value}
	}
	return token{value, s.now().Add(life - min(life/10, 10*time.Second))}
}

// tokenError returns the failed request of a token without the URL and body
// that it may hold.
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
		e.Kind = ErrUnauthorized // 400 and 404 also say that there is no token for this
	}
	return e
}

// bounded is a transport whose answers have at most limit bytes.
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
