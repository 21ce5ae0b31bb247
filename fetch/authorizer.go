package fetch

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	challenges "github.com/containerd/containerd/v2/core/remotes/docker/auth"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/flight"
	"github.com/ladle-dev/ladle/lru"
)

// authorizer answers the challenges of a registry host (docker.Authorizer).
//
// It replaces containerd's, which caches the error of a failed or cancelled token request
// for ever, and an expired token until the registry names the expiry in a challenge.
type authorizer struct {
	tokens   tokenSource
	logins   logins
	renewals flight.Group[string] // of tokens, by grantKey

	mu struct {
		sync.Mutex
		challenges map[string]challenges.Challenge // the latest one, by host
		grants     *lru.Cache[grantKey, grant]
	}
}

// grantKey identifies the purpose of a token: a host, and the scopes in the context of
// the request.
type grantKey struct{ host, scopes string }

// grant is a token, which may be empty, and the scopes for the request of the next one:
// those of the challenge, if it had any. They differ from those of the context if the
// host stores images under names of its own.
type grant struct {
	scopes   string
	token    token
	login    auth.Login // that the token was got with, or that was sent itself (Basic)
	accepted bool       // the host accepted token or login
}

// maxGrants bounds the tokens that are cached for a host: one for each repository, of
// some kilobytes.
const maxGrants = 4096

func newAuthorizer(tokens tokenSource, logins logins) *authorizer {
	a := &authorizer{tokens: tokens, logins: logins}
	a.mu.challenges = map[string]challenges.Challenge{}
	a.mu.grants = lru.New[grantKey, grant](maxGrants)
	return a
}

func keyOf(ctx context.Context, req *http.Request) grantKey {
	return grantKey{req.URL.Host, strings.Join(docker.GetTokenScopes(ctx, nil), " ")}
}

// Authorize adds the authorization to req that the latest challenge of the host asks for;
// none if there was no challenge. It may fetch a token; concurrent calls for the same
// token share one request.
func (a *authorizer) Authorize(ctx context.Context, req *http.Request) error {
	key := keyOf(ctx, req)
	a.mu.Lock()
	challenge, challenged := a.mu.challenges[key.host]
	a.mu.Unlock()
	switch {
	case !challenged:
		return nil
	case challenge.Scheme == challenges.BasicAuth:
		l, err := a.logins.get(ctx, basicChallenge(ctx, key))
		if err != nil {
			return denied(key.host, err)
		}
		if l.User != "" {
			a.using(key, l)
			req.SetBasicAuth(l.User, l.Secret)
		}
		return nil
	}
	t, err := a.token(ctx, key)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+t)
	return nil
}

// AddResponses stores the challenge in the last of responses, which are all 401 to one
// request, and invalidates the token or the login that was refused. It returns an error if
// the challenge cannot be answered, or only with a login that was refused.
func (a *authorizer) AddResponses(ctx context.Context, responses []*http.Response) error {
	last := responses[len(responses)-1]
	key := keyOf(ctx, last.Request)
	for _, c := range challenges.ParseAuthHeader(last.Header) { // bearer before basic
		switch c.Scheme {
		case challenges.BearerAuth:
			// A token that was got before this request may have expired: the same login gets
			// another one. One that was got since then is as good as that login can get.
			l, used := a.drop(key, last.Request)
			a.challenged(key, c)
			if !used || len(responses) == 1 {
				return nil
			}
			where, _, err := a.tokenChallenge(ctx, key)
			if err != nil {
				return err
			}
			return a.logins.another(ctx, where, l)
		case challenges.BasicAuth:
			return a.refusedBasic(ctx, key, c, last.Request)
		}
	}
	return errors.New("no challenge of a known scheme")
}

// challenged stores the latest challenge of a host, and the scopes in it.
func (a *authorizer) challenged(key grantKey, challenge challenges.Challenge) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.challenges[key.host] = challenge
	g, _ := a.mu.grants.Get(key)
	if s := challenge.Parameters["scope"]; s != "" {
		g.scopes = s
	}
	a.mu.grants.Add(key, g)
}

// token returns a valid token for key. The request of a new one continues after ctx has
// ended, since other calls can wait for it, too.
func (a *authorizer) token(ctx context.Context, key grantKey) (string, error) {
	if t, ok := a.current(key); ok {
		return t, nil
	}
	renewal := key.host + " " + key.scopes
	t, err := a.renewals.Do(ctx, renewal, tokenTimeout, func(ctx context.Context) (string, error) {
		if t, ok := a.current(key); ok {
			return t, nil // fetched by a flight that ended in between
		}
		return a.renew(ctx, key)
	})
	if errors.Is(context.Cause(ctx), errStalled) {
		a.renewals.Forget(renewal) // the next attempt starts a new request
	}
	return t, err
}

func (a *authorizer) current(key grantKey) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, _ := a.mu.grants.Get(key)
	return g.token.value, g.token.valid(a.tokens.now())
}

// renew gets a new token for key: from a lender, or else from the token server, with one
// login after the other while these are refused.
func (a *authorizer) renew(ctx context.Context, key grantKey) (string, error) {
	where, want, err := a.tokenChallenge(ctx, key)
	if err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		l, err := a.logins.get(ctx, where)
		if err != nil {
			return "", denied(key.host, err)
		}
		t := a.tokens.token(l.Token, l.Life)
		if l.Token == "" {
			want.Username, want.Secret = l.User, l.Secret
			t, err = a.tokens.fetch(ctx, want)
		}
		switch refusal := (*Error)(nil); {
		case err == nil:
			a.granted(key, l, t)
			return t.value, nil
		case !errors.As(err, &refusal) || refusal.Kind != ErrUnauthorized:
			return "", err
		default:
			if why := a.logins.another(ctx, where, l); why != nil || n == maxLogins {
				refusal.Cause = why
				return "", refusal
			}
		}
	}
}

// tokenChallenge returns the challenge for which a token for key is wanted, and the request to
// the token server.
func (a *authorizer) tokenChallenge(ctx context.Context, key grantKey) (auth.Challenge, challenges.TokenOptions, error) {
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
	if err == nil && want.Realm == "" { // it would return credentials for basic authentication
		err = errors.New("the challenge names no token server")
	}
	if err != nil {
		return auth.Challenge{}, challenges.TokenOptions{}, denied(key.host, err)
	}
	return auth.Challenge{
		Host: key.host, Repository: repositoryOf(ctx), Realm: want.Realm, Service: want.Service, Scopes: want.Scopes,
	}, want, nil
}

// granted stores a token that was got with l.
func (a *authorizer) granted(key grantKey, l auth.Login, t token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, _ := a.mu.grants.Get(key)
	g.token, g.login, g.accepted = t, l, false
	a.mu.grants.Add(key, g)
}

// denied is the error of credentials that are missing or cannot be used.
func denied(host string, cause error) *Error {
	return &Error{Op: "token", Host: host, Kind: ErrUnauthorized, Cause: cause, final: true}
}
