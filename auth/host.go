package auth

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
)

const (
	// maxHosts bounds the hosts of one registry that a lender can name.
	maxHosts = 16

	// maxFiles bounds the certificates of one host, of each kind.
	maxFiles = 64
)

// Host is one that has the blobs of a registry: a mirror or the registry
// itself. Files hold PEM.
type Host struct {
	URL      string    `json:"url"`           // "https://name:port/v2", below which repositories are
	CAs      []string  `json:"ca"`            // files that are trusted besides the system's
	KeyPairs []KeyPair `json:"keypair"`       // for a host that requests a client certificate
	Insecure bool      `json:"insecure"`      // its certificate is not verified
	Fallback bool      `json:"http_fallback"` // plain HTTP if it does not speak TLS
}

// KeyPair names the files of a certificate and its key.
type KeyPair struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// askForHosts asks the lender at socket for the hosts of a registry. The answer is empty
// if the lender has no settings for the registry.
func askForHosts(ctx context.Context, socket, registry string) ([]Host, error) {
	var answer struct {
		Hosts []Host `json:"hosts"`
	}
	if err := get(ctx, socket, "/hosts", url.Values{"registry": {registry}}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Hosts) > maxHosts {
		return nil, errors.New("names too many hosts")
	}
	for _, h := range answer.Hosts {
		if err := h.check(); err != nil {
			return nil, err
		}
	}
	return answer.Hosts, nil
}

// check returns an error if h is not a host to which requests can be sent.
func (h Host) check() error {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil:
		return errors.New("names a host without a valid address")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "",
		u.User != nil, u.RawQuery != "", u.Fragment != "", !strings.HasPrefix(u.Path, "/"):
		return errors.New("names a host whose address is not that of a registry")
	case len(h.CAs) > maxFiles || len(h.KeyPairs) > maxFiles:
		return errors.New("names too many certificates")
	}
	files := h.CAs
	for _, p := range h.KeyPairs {
		files = append(files[:len(files):len(files)], p.Cert, p.Key)
	}
	for _, f := range files {
		if !filepath.IsAbs(f) {
			return errors.New("names a file without its whole path")
		}
	}
	return nil
}
