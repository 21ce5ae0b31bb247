package auth

import (
	"net"
	"net/url"
	"path"
	"strings"
)

// pattern is what images are compared with, as kubelet does it (the field matchImages of
// CredentialProviderConfig, and the keys of auths in pull secrets): "host:port/path". Parts of
// the host may have wildcards (path.Match), the port must be equal, and the path is a prefix.
type pattern struct {
	host []string // split at its dots
	port string
	path string
}

// parsePattern parses a pattern, which has no scheme.
func parsePattern(text string) (pattern, error) {
	u, err := url.Parse("https://" + text)
	if err != nil {
		return pattern{}, err.(*url.Error).Err // without the text
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil { // it has no port
		host, port = u.Host, ""
	}
	for part := range strings.SplitSeq(host, ".") {
		if _, err := path.Match(part, ""); err != nil {
			return pattern{}, err
		}
	}
	return pattern{strings.Split(host, "."), port, u.Path}, nil
}

// matches reports whether p matches an image without tag, "host:port/path".
func (p pattern) matches(image string) bool {
	i, err := parsePattern(image)
	if err != nil || p.port != i.port || len(p.host) != len(i.host) || !strings.HasPrefix(i.path, p.path) {
		return false
	}
	for k, part := range p.host {
		if ok, err := path.Match(part, i.host[k]); err != nil || !ok {
			return false
		}
	}
	return true
}
