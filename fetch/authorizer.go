package fetch

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	challenges "github.com/containerd/containerd/v2/core/remotes/docker/auth"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"

	"github.com/ladle-dev/ladle/auth"
)

// authorizer answers the challenges of a registry host (docker.Authorizer).
//
// containerd's own one is not used since it keeps a failed or cancelled
// request of a token for ever, and an expired token until the registry says
// in the challenge that this is what is wrong with it.
type authorizer struct {
	tokens      tokenSource
	credentials Credentials
	flight      singleflight.Group // by grantKey

	mu struct {
		sync.Mutex
		challenges map[string]challenges.Challenge // the latest one, by host
		grants     *simplelru.LRU[grantKey, grant]
	}
}

// grantKey is what a token is wanted for: a host and the scopes that the
// context of the request names.
type grantKey struct{ host, scopes string }

// grant is a token, if it is not empty, and the scopes with which to ask for
// the next one: those of the challenge, if it named any. They are others than
// those of the context where a host keeps images under its own names.
type grant struct {
	scopes string
	token  token
}

// grantsRemembered bounds the tokens of a host: one for each repository, of some
// kilobytes.
const grantsRemembered = 4096

// newLRU returns a cache for who has a mutex around it.
func newLRU[K comparable, V any](size int) *simplelru.LRU[K, V] {
	l, err := simplelru.NewLRU[K, V](size, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return l
}

func newAuthorizer(tokens tokenSource, credentials Credentials) *authorizer {
	if credentials == nil {
		credentials = func(context.Context, auth.Challenge) (auth.Login, error) { return auth.Login{}, nil }
	}
	a := &authorizer{tokens: tokens, credentials: credentials}
	a.mu.challenges = map[string]challenges.Challenge{}
	a.mu.grants = newLRU[grantKey, grant](grantsRemembered)
	return a
}

func keyOf(ctx context.Context, req *http.Request) grantKey {
	return grantKey{req.URL.Host, strings.Join(docker.GetTokenScopes(ctx, nil), " ")}
}

// Authorize adds to req what the host is known to want; nothing, if it was
// never challenged. It may fetch a token; callers that want the same one share
// one request.
func (a *authorizer) Authorize(ctx context.Context, req *http.Request) error {
	key := keyOf(ctx, req)
	a.mu.Lock()
	challenge, challenged := a.mu.challenges[key.host]
	a.mu.Unlock()
	switch {
	case !challenged:
		return nil
	case challenge.Scheme == challenges.BasicAuth:
		l, err := a.credentials(ctx, auth.Challenge{Host: key.host, Repository: repositoryOf(ctx)})
		if err != nil {
			return denied(key.host, err)
		}
		req.SetBasicAuth(l.User, l.Secret)
		return nil
	}
	t, err := a.token(ctx, key)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+t)
	return nil
}

// AddResponses takes the challenge of the last of responses, a 401. It returns
// an error if there is none that could be answered. A token that was refused
// is not used again.
func (a *authorizer) AddResponses(ctx context.Context, responses []*http.Response) error {
	last := responses[len(responses)-1]
	key := keyOf(ctx, last.Request)
	for _, c := range challenges.ParseAuthHeader(last.Header) { // bearer before basic
		switch c.Scheme {
		case challenges.BearerAuth:
			a.refused(key, c, strings.TrimPrefix(last.Request.Header.Get("Authorization"), "Bearer "))
			return nil
		case challenges.BasicAuth:
			l, err := a.credentials(ctx, auth.Challenge{Host: key.host, Repository: repositoryOf(ctx)})
			if err != nil {
				return err
			}
			if l.User == "" {
				return errors.New("no credentials for basic authentication")
			}
			a.refused(key, c, "")
			return nil
		}
	}
	return errors.New("no challenge of a known scheme")
}

// refused remembers challenge, with which a request with used as its token was
// answered.
func (a *authorizer) refused(key grantKey, challenge challenges.Challenge, used string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.challenges[key.host] = challenge
	g, _ := a.mu.grants.Get(key)
	if g.token.value == used {
		g.token = token{}
	}
	if s := challenge.Parameters["scope"]; s != "" {
		g.scopes = s
	}
	a.mu.grants.Add(key, g)
}

// Forget has the token that req was sent with not used again: a registry may say
// with a 403, too, that it has expired.
func (a *authorizer) Forget(req *http.Request) {
	used, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return
	}
	key := keyOf(req.Context(), req)
	a.mu.Lock()
	defer a.mu.Unlock()
	if g, ok := a.mu.grants.Get(key); ok && g.token.value == used {
		a.mu.grants.Add(key, grant{scopes: g.scopes})
	}
}

// token returns a valid token for key. The request of a new one outlives the
// caller that started it, since others may wait for it, too.
func (a *authorizer) token(ctx context.Context, key grantKey) (string, error) {
	if t, ok := a.current(key); ok {
		return t, nil
	}
	flight := key.host + " " + key.scopes
	result := a.flight.DoChan(flight, func() (any, error) {
		if t, ok := a.current(key); ok {
			return t, nil // got between the look and the flight
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTimeout)
		defer cancel()
		return a.renew(ctx, key)
	})
	select {
	case <-ctx.Done():
		err := context.Cause(ctx)
		if errors.Is(err, errStalled) {
			a.flight.Forget(flight) // the next attempt starts another one
		}
		return "", err
	case r := <-result:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(string), nil
	}
}

func (a *authorizer) current(key grantKey) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, _ := a.mu.grants.Get(key)
	return g.token.value, g.token.valid(a.tokens.now())
}

// renew gets a token for key: one that is lent, or else it fetches one.
func (a *authorizer) renew(ctx context.Context, key grantKey) (string, error) {
	a.mu.Lock()
	challenge := a.mu.challenges[key.host]
	g, _ := a.mu.grants.Get(key)
	a.mu.Unlock()
	scopes := g.scopes
	if scopes == "" {
		scopes = key.scopes
	}
	challenge.Parameters = map[string]string{
		"realm": challenge.Parameters["realm"], "service": challenge.Parameters["service"], "scope": scopes,
	}
	want, err := challenges.GenerateTokenOptions(ctx, key.host, "", "", challenge)
	if err == nil && want.Realm == "" { // which would ask for a password, that of basic authentication
		err = errors.New("the challenge names no token server")
	}
	if err != nil {
		return "", denied(key.host, err)
	}
	l, err := a.credentials(ctx, auth.Challenge{
		Host: key.host, Repository: repositoryOf(ctx), Realm: want.Realm, Service: want.Service, Scopes: want.Scopes,
	})
	if err != nil {
		return "", denied(key.host, err)
	}
	t := a.tokens.token(l.Token, l.Life)
	if l.Token == "" {
		want.Username, want.Secret = l.User, l.Secret
		if t, err = a.tokens.fetch(ctx, want); err != nil {
			return "", err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	g, _ = a.mu.grants.Get(key)
	g.token = t
	a.mu.grants.Add(key, g)
	return t.value, nil
}

// denied is the error of credentials that cannot be had or used.
func denied(host string, cause error) *Error {
	return &Error{Op: "token", Host: host, Kind: ErrUnauthorized, Cause: cause, final: true}
}
