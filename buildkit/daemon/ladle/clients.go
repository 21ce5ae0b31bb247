package ladle

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
)

// tokenTimeout bounds the answer of a client that asks a token server, once or
// twice: ladle waits for ten seconds.
const tokenTimeout = 9 * time.Second

// challenge is what ladle wants an answer to. Without a realm it is a login that
// it wants, else a token from there.
type challenge struct {
	host, repository string
	realm, service   string
	scopes           []string
}

// credentials is an answer.
type credentials struct {
	Username string `json:"username,omitempty"`
	Secret   string `json:"secret,omitempty"`
	Token    string `json:"token,omitempty"`
	Expires  int64  `json:"expires_in,omitempty"` // seconds from now on; 0: not known
}

// errNobody says that no client is there that may be asked.
var errNobody = errors.New("no build is running that was let read the image")

// ask returns what the first client has that has something for q. If some have
// nothing and others fail, there is nothing.
func (l *Lender) ask(ctx context.Context, q challenge) (found credentials, err error) {
	err = errNobody
	empty := false
	for client := range l.clients(ctx, q.repository) {
		found, failed := l.askClient(ctx, client, q)
		switch {
		case errors.Is(failed, errNobody), failed != nil && ended(client):
		case failed != nil:
			err = failed
		case found != credentials{}:
			return found, nil
		default:
			empty = true
		}
	}
	if empty {
		err = nil
	}
	return credentials{}, err
}

// askClient asks one client. If a token is wanted and it can fetch tokens, its
// password stays with it, as with BuildKit itself.
func (l *Lender) askClient(ctx context.Context, client session.Caller, q challenge) (credentials, error) {
	timeout := sessionTimeout
	if q.realm != "" {
		timeout = tokenTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := auth.NewAuthClient(client.Conn())
	if q.realm == "" {
		return login(ctx, c, q)
	}
	switch fetches, known, err := l.authority(ctx, c, q.host); {
	case err != nil:
		return credentials{}, err
	case !fetches:
		return login(ctx, c, q)
	case !known:
		return credentials{}, nil // ladle's own token of nobody is as good
	}
	return fetchToken(ctx, c, q)
}

// authority reports whether a client fetches tokens, and whether it has a
// password for host. The key with which it proves later who it is says so: it
// is made of our salt, and of a seed of the client's only if there is a password
// (BuildKit, session/auth/authprovider, getAuthorityKey).
func (l *Lender) authority(ctx context.Context, c auth.AuthClient, host string) (fetches, known bool, err error) {
	got, err := c.GetTokenAuthority(ctx, &auth.GetTokenAuthorityRequest{Host: host, Salt: l.salt})
	switch grpcerrors.Code(err) {
	case codes.OK:
	case codes.Unimplemented, codes.Unavailable: // it is older, or was told not to
		return false, false, nil
	default:
		return false, false, err
	}
	seed := hmac.New(sha256.New, l.salt).Sum(nil)
	nobody := ed25519.NewKeyFromSeed(seed[:ed25519.SeedSize]).Public().(ed25519.PublicKey)
	return true, !bytes.Equal(got.PublicKey, nobody), nil
}

// fetchToken has a client fetch a token.
func fetchToken(ctx context.Context, c auth.AuthClient, q challenge) (credentials, error) {
	got, err := c.FetchToken(ctx, &auth.FetchTokenRequest{
		ClientID: "buildkit-client", Host: q.host, Realm: q.realm, Service: q.service, Scopes: q.scopes,
	})
	if err != nil {
		return credentials{}, gone(err)
	}
	expires := got.ExpiresIn
	if got.IssuedAt > 0 && expires > 0 { // by the clock of the token server, which may be another one
		// Whether it is over already, the registry knows.
		expires = max(min(time.Unix(got.IssuedAt+expires, 0).Unix()-time.Now().Unix(), expires), 0)
	}
	return credentials{Token: got.Token, Expires: expires}, nil
}

// login asks for what a client has. One that knows nothing of credentials has
// none.
func login(ctx context.Context, c auth.AuthClient, q challenge) (credentials, error) {
	got, err := c.Credentials(ctx, &auth.CredentialsRequest{Host: q.host})
	if grpcerrors.Code(err) == codes.Unimplemented {
		return credentials{}, nil
	}
	if err != nil {
		return credentials{}, gone(err)
	}
	return credentials{Username: got.Username, Secret: got.Secret}, nil
}

// ended reports whether the session of a client has ended. BuildKit closes its
// connection then, a moment before its session manager forgets the session.
func ended(client session.Caller) bool {
	return client.Conn().GetState() == connectivity.Shutdown
}

// gone is err, or errNobody if it says that a client went: that its connection
// is gone is known before the session has ended for BuildKit.
func gone(err error) error {
	if grpcerrors.Code(err) == codes.Unavailable {
		return errNobody
	}
	return err
}
