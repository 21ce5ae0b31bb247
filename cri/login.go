package cri

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/distribution/reference"

	"github.com/ladle-dev/ladle/auth"
)

// maxLogin bounds the fields of a login, in bytes: some tokens have several KiB.
const maxLogin = 32 << 10

// place is what a login is for.
type place struct {
	host       string // "name" or "name:port", in lower case; "docker.io" for each host of Docker Hub
	repository string // as image references name it: "registry/path"
}

// placeOf returns the place of a challenge.
func placeOf(c auth.Challenge) place { return place{hostName(c.Host), c.Repository} }

// hostName returns the one name of a registry host.
func hostName(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

// read returns the pull with the login in its request; nil if the request has none. Errors contain
// nothing of the login.
func (r pullRequest) read() (*pull, error) {
	if r.auth.size() > maxLogin {
		return nil, fmt.Errorf("the login has more than %d bytes", maxLogin)
	}
	login, err := r.auth.login()
	if err != nil || login == (auth.Login{}) {
		return nil, err
	}
	// As containerd's CRI plugin does; it does not pull what is no reference.
	named, err := reference.ParseDockerRef(r.image)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", r.image, err)
	}
	host := reference.Domain(named)
	if r.auth.server != "" {
		if host, err = serverHost(r.auth.server); err != nil {
			return nil, err
		}
	}
	return &pull{place{hostName(host), named.Name()}, login, named.String()}, nil
}

// login returns the login that containerd would use (internal/cri/server/images, ParseAuth), or
// else the registry token, which containerd ignores.
func (f loginFields) login() (auth.Login, error) {
	switch {
	case f.username != "":
		return auth.Login{User: f.username, Secret: f.password}, nil
	case f.identityToken != "":
		return auth.Login{Secret: f.identityToken}, nil
	case f.auth != "":
		text, err := base64.StdEncoding.DecodeString(f.auth)
		user, secret, ok := strings.Cut(string(text), ":")
		if err != nil || !ok {
			return auth.Login{}, errors.New("the field auth is not the base64 of user and password")
		}
		return auth.Login{User: user, Secret: strings.Trim(secret, "\x00")}, nil
	}
	return auth.Login{Token: f.registryToken}, nil
}

// serverHost returns the host of a server address: a URL, or the host alone.
func serverHost(address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", errors.New("the server address of the login is not an address")
	}
	return u.Host, nil
}

// answers reports whether l is an answer to c: basic authentication takes a user.
func answers(l auth.Login, c auth.Challenge) bool {
	return l != (auth.Login{}) && (c.Realm != "" || l.User != "")
}
