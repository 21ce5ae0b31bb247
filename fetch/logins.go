package fetch

import (
	"context"
	"errors"
	"net/http"
	"strings"

	challenges "github.com/containerd/containerd/v2/core/remotes/docker/auth"

	"github.com/ladle-dev/ladle/auth"
)

// maxLogins bounds the logins that are tried for one request. Package auth has those that were
// refused come last, so that the next request goes on behind them.
const maxLogins = 4

// logins are the functions of HostsOptions, none of them nil.
type logins struct {
	get     Credentials
	refused Refused
}

func (o HostsOptions) logins() logins {
	l := logins{o.Credentials, o.Refused}
	if l.get == nil {
		l.get = func(context.Context, auth.Challenge) (auth.Login, error) { return auth.Login{}, nil }
	}
	if l.refused == nil {
		l.refused = func(auth.Challenge, auth.Login) error { return errors.New("there are no other credentials") }
	}
	return l
}

// another records that l was refused, and returns nil if there is another login, else why
// there is none.
func (l logins) another(ctx context.Context, where auth.Challenge, refused auth.Login) error {
	why := l.refused(where, refused)
	next, err := l.get(ctx, where)
	switch {
	case err != nil:
		return err
	case next.Same(refused):
		return why
	}
	return nil
}

// basicChallenge is the challenge of a host for Basic authentication.
func basicChallenge(ctx context.Context, key grantKey) auth.Challenge {
	return auth.Challenge{Host: key.host, Repository: repositoryOf(ctx)}
}

// refusedBasic is AddResponses for a challenge of Basic authentication.
func (a *authorizer) refusedBasic(ctx context.Context, key grantKey, c challenges.Challenge, req *http.Request) error {
	where := basicChallenge(ctx, key)
	if l, used := a.drop(key, req); used {
		if err := a.logins.another(ctx, where, l); err != nil {
			return err
		}
	}
	l, err := a.logins.get(ctx, where)
	if err != nil {
		return err
	}
	if l.User == "" {
		return errors.Join(errors.New("no credentials for basic authentication"), a.logins.refused(where, auth.Login{}))
	}
	a.challenged(key, c)
	return nil
}

// using records that l is sent by Basic authentication.
func (a *authorizer) using(key grantKey, l auth.Login) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, _ := a.mu.grants.Get(key)
	if !g.login.Same(l) {
		g.login, g.accepted = l, false
		a.mu.grants.Add(key, g)
	}
}

// drop invalidates the token that req was sent with, unless it was replaced meanwhile. It
// returns the login that req was sent with, or got its token; used is false if that is not
// the latest one, or there is none.
func (a *authorizer) drop(key grantKey, req *http.Request) (l auth.Login, used bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.mu.grants.Get(key)
	if !ok || !g.sentWith(req) {
		return auth.Login{}, false
	}
	l = g.login
	g.token = token{}
	a.mu.grants.Add(key, g)
	return l, true
}

// sentWith reports whether req carries the token of g, or its login.
func (g grant) sentWith(req *http.Request) bool {
	if t, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); ok {
		return t == g.token.value
	}
	user, secret, ok := req.BasicAuth()
	return ok && user == g.login.User && secret == g.login.Secret
}

// Accepted records that the host accepted the authorization of req.
func (a *authorizer) Accepted(req *http.Request) {
	key := keyOf(req.Context(), req)
	a.mu.Lock()
	defer a.mu.Unlock()
	if g, ok := a.mu.grants.Get(key); ok && !g.accepted && g.sentWith(req) {
		g.accepted = true
		a.mu.grants.Add(key, g)
	}
}

// Forbidden records that the host answered 403 to req. Some registries do so if a token or a
// password has expired: a token that was accepted before is got anew by the same login.
func (a *authorizer) Forbidden(req *http.Request) {
	key := keyOf(req.Context(), req)
	a.mu.Lock()
	g, _ := a.mu.grants.Get(key)
	scheme := a.mu.challenges[key.host].Scheme
	a.mu.Unlock()
	l, used := a.drop(key, req)
	if used && (!g.accepted || scheme == challenges.BasicAuth) {
		_ = a.logins.refused(basicChallenge(req.Context(), key), l) // the answer itself is the error
	}
}
