package auth

import "time"

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

// Login is the answer to a challenge; the zero value is none. A Login with a Token has no
// User and no Secret. If User is empty and Secret is not, Secret is an identity token (an
// OAuth 2 refresh token).
type Login struct {
	User, Secret string
	Token        string        // a bearer token
	Life         time.Duration // of the token from now on; zero: until it is refused
}
