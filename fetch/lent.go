package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/lru"
)

// maxLent bounds the cached lists of lent hosts.
const maxLent = 256

// maxPEM bounds a file that a lender names, in bytes. Other files than regular ones are
// refused: a pipe or a device could block or never end.
const maxPEM = 4 << 20

// lentHosts caches the lent hosts, so that connections and tokens are reused as long as
// the same hosts are lent and their files do not change.
type lentHosts struct {
	mu struct {
		sync.Mutex
		hosts *lru.Cache[string, []docker.RegistryHost] // by stampOfLent
	}
}

func newLentHosts() *lentHosts {
	l := &lentHosts{}
	l.mu.hosts = lru.New[string, []docker.RegistryHost](maxLent)
	return l
}

// lend returns the lent hosts of registry.
func (c *configured) lend(registry string, lent []auth.Host) ([]docker.RegistryHost, error) {
	stamp, err := stampOfLent(registry, lent)
	if err != nil {
		return nil, err
	}
	c.lent.mu.Lock()
	defer c.lent.mu.Unlock() // held while files are read, so that they are read once
	if known, ok := c.lent.mu.hosts.Get(stamp); ok {
		return known, nil
	}
	var hosts []docker.RegistryHost
	for _, h := range lent {
		host, err := c.lentHost(h)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, host)
	}
	c.lent.mu.hosts.Add(stamp, hosts)
	return hosts, nil
}

// stampOfLent returns a stamp that changes when the lent hosts, or the sizes and times of
// their files, do.
func stampOfLent(registry string, lent []auth.Host) (string, error) {
	text, err := json.Marshal(lent)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s", registry, text)
	for _, h := range lent {
		files := append([]string(nil), h.CAs...)
		for _, p := range h.KeyPairs {
			files = append(files, p.Cert, p.Key)
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err == nil && (!info.Mode().IsRegular() || info.Size() > maxPEM) {
				err = fmt.Errorf("%s: not a file of certificates", f)
			}
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&s, "\n%d %d", info.Size(), info.ModTime().UnixNano())
		}
	}
	return s.String(), nil
}

func (c *configured) lentHost(h auth.Host) (docker.RegistryHost, error) {
	u, err := url.Parse(h.URL)
	if err != nil {
		return docker.RegistryHost{}, err
	}
	settings, err := tlsOf(h)
	if err != nil {
		return docker.RegistryHost{}, err
	}
	tr := docker.DefaultHTTPTransport(settings)
	tune(tr, headerTimeout(c.opts.RequestTimeout))
	dialWithin(tr, dialTimeout)
	client := &http.Client{Transport: tr}
	if h.Fallback {
		client.Transport = newFallback(u.Host, tr)
	}
	client = c.wrap(client)
	return docker.RegistryHost{
		Client:       client,
		Authorizer:   newAuthorizer(newTokenSource(client, nil), c.opts.logins()),
		Host:         u.Host,
		Scheme:       u.Scheme,
		Path:         u.Path,
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
	}, nil
}

// tlsOf returns the TLS settings of h.
func tlsOf(h auth.Host) (*tls.Config, error) {
	settings := &tls.Config{InsecureSkipVerify: h.Insecure} //nolint:gosec // as configured at the lender
	if len(h.CAs) > 0 {
		trusted, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		settings.RootCAs = trusted
	}
	for _, file := range h.CAs {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		settings.RootCAs.AppendCertsFromPEM(pem) // a file may have none
	}
	for _, p := range h.KeyPairs {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Cert, err)
		}
		settings.Certificates = append(settings.Certificates, pair)
	}
	return settings, nil
}
