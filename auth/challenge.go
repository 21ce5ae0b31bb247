package auth

import "time"

// Challenge is what a host wants to know before it lets anybody read.
type Challenge struct {
	Host       string // "name" or "name:port" of the registry or a mirror of it
	Repository string // as image references name it: "registry/path"

	// Where to fetch a token, from which service and for what, as the host
	// says (distribution.github.io/distribution/spec/auth/token). Without a
	// realm the host wants user and password themselves.
	Realm, Service string
	Scopes         []string
}

// Login is what to answer a challenge with; the zero value is nothing. With a
// token there is no user and no secret. If User is empty and Secret is not,
// Secret is an identity token (an OAuth 2 refresh token).
type Login struct {
	User, Secret string
	Token        string        // a bearer token
	Life         time.Duration // of the token from now on; zero: until it is refused
}
