package auth

import (
	"strings"
	"time"
)

// Challenge is the request of a host for authentication (WWW-Authenticate).
type Challenge struct {
	Host       string // "name" or "name:port" of the registry or a mirror of it
	Repository string // as image references name it: "registry/path"

	// Realm is the address of the token server, Service the name of the host there, and
	// Scopes what the token is to permit
	// (distribution.github.io/distribution/spec/auth/token). Without a realm the host
	// expects user and password (Basic authentication).
	Realm, Service string
	Scopes         []string
}

// image returns the image that c is for as kubelet names it, without a tag: the repository if
// the host is its registry, else the repository's path on that host. So credentials that are
// found by this name are those of the host that asks for them.
func (c Challenge) image() string {
	_, path, _ := strings.Cut(c.Repository, "/")
	return hubless(c.Host) + "/" + path
}

// hubless returns the name of a registry in image references: Docker Hub has several hosts.
func hubless(host string) string {
	if len(keys(host)) > 1 {
		return "docker.io"
	}
	return host
}

// Login is the answer to a challenge; the zero value is none. A Login with a Token has no
// User and no Secret. If User is empty and Secret is not, Secret is an identity token (an
// OAuth 2 refresh token).
type Login struct {
	User, Secret string
	Token        string // a bearer token

	// Life is how long the token or the secret is good from now on; zero: until it is
	// refused.
	Life time.Duration

	source string // that it is from; set by Sources
}

// String says what kind of login it is, without user and secret: it may get into a log.
func (l Login) String() string {
	switch {
	case l.Token != "":
		return "a token"
	case l.User != "":
		return "user and password"
	case l.Secret != "":
		return "an identity token"
	}
	return "none"
}

// GoString is String, for the verb %#v.
func (l Login) GoString() string { return l.String() }

// Same reports whether o is no better than l where l was refused: it has the same secret, or
// both are tokens, which a source gets anew each time.
func (l Login) Same(o Login) bool {
	if l.Token != "" && o.Token != "" {
		return l.source == o.source
	}
	return l.User == o.User && l.Secret == o.Secret && l.Token == o.Token
}
