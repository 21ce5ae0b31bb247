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

// tokenTimeout bounds the answer of a client that requests a token from a token server,
// which can take two requests. It is less than the ten seconds that ladle waits.
const tokenTimeout = 9 * time.Second

// challenge is a request of ladle for credentials: for a login if realm is empty, else
// for a token of that realm.
type challenge struct {
	host, repository string
	realm, service   string
	scopes           []string
}

// credentials is the answer to a challenge.
type credentials struct {
	Username string `json:"username,omitempty"`
	Secret   string `json:"secret,omitempty"`
	Token    string `json:"token,omitempty"`
	Expires  int64  `json:"expires_in,omitempty"` // seconds from now on; 0: unknown
}

// errNobody is the error of a request for an image to which no connected client is
// admitted.
var errNobody = errors.New("no client with access to the image is connected")

// ask asks the admitted clients in turn. It returns the first non-empty answer; an empty
// one if at least one client answered; else the last error, errNobody if there was no
// client.
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

// askClient asks one client. A client that can fetch tokens is asked for a token, and
// does not disclose its password, as with BuildKit itself.
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
		return credentials{}, nil // ladle can fetch an anonymous token itself
	}
	return fetchToken(ctx, c, q)
}

// authority reports whether a client fetches tokens, and whether it has a password for
// host. The client answers with the public key that it would sign token requests with.
// The key is derived from the lender's salt, and from a seed of the client only if it has
// a password (BuildKit, session/auth/authprovider, getAuthorityKey).
func (l *Lender) authority(ctx context.Context, c auth.AuthClient, host string) (fetches, known bool, err error) {
	got, err := c.GetTokenAuthority(ctx, &auth.GetTokenAuthorityRequest{Host: host, Salt: l.salt})
	switch grpcerrors.Code(err) {
	case codes.OK:
	case codes.Unimplemented, codes.Unavailable: // an older client, or one configured not to
		return false, false, nil
	default:
		return false, false, err
	}
	seed := hmac.New(sha256.New, l.salt).Sum(nil)
	anonymous := ed25519.NewKeyFromSeed(seed[:ed25519.SeedSize]).Public().(ed25519.PublicKey)
	return true, !bytes.Equal(got.PublicKey, anonymous), nil
}

// fetchToken lets a client fetch a token.
func fetchToken(ctx context.Context, c auth.AuthClient, q challenge) (credentials, error) {
	got, err := c.FetchToken(ctx, &auth.FetchTokenRequest{
		ClientID: "buildkit-client", Host: q.host, Realm: q.realm, Service: q.service, Scopes: q.scopes,
	})
	if err != nil {
		return credentials{}, gone(err)
	}
	expires := got.ExpiresIn
	if got.IssuedAt > 0 && expires > 0 { // by the clock of the token server
		// The clocks can differ; the registry refuses a token that has expired.
		expires = max(min(time.Unix(got.IssuedAt+expires, 0).Unix()-time.Now().Unix(), expires), 0)
	}
	return credentials{Token: got.Token, Expires: expires}, nil
}

// login returns the login of a client; an empty one if it has none or does not implement
// credentials.
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

// ended reports whether the session of a client has ended. BuildKit closes its connection
// then, and removes the session from its session manager a moment later.
func ended(client session.Caller) bool {
	return client.Conn().GetState() == connectivity.Shutdown
}

// gone returns err, or errNobody if the client's connection was lost. A call notices that
// before BuildKit ends the session.
func gone(err error) error {
	if grpcerrors.Code(err) == codes.Unavailable {
		return errNobody
	}
	return err
}
