package ladle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/buildkit/util/resolver/config"
)

// host is where images of a registry are, as ladle is told. Files are named by
// their whole paths.
type host struct {
	URL      string    `json:"url"`
	CAs      []string  `json:"ca,omitempty"`
	KeyPairs []keyPair `json:"keypair,omitempty"`
	Insecure bool      `json:"insecure,omitempty"`
	Fallback bool      `json:"http_fallback,omitempty"`
}

type keyPair struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// hostsOf returns the hosts of a registry in the order in which BuildKit asks
// them: none if its configuration does not name the registry.
func (l *Lender) hostsOf(registry string) ([]host, error) {
	named, ok := l.registries[registry]
	if !ok {
		return nil, nil
	}
	all, err := l.hosts(registry)
	if err != nil {
		return nil, err
	}
	var hosts []host
	for i, h := range all {
		settings := named // the registry itself is the last
		if i < len(all)-1 {
			settings = l.registries[h.Host]
		}
		told, err := hostOf(h, settings)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", registry, err)
		}
		hosts = append(hosts, told)
	}
	return hosts, nil
}

// hostOf returns how BuildKit reaches h (util/resolver, fillInsecureOpts): plain
// HTTP only is in its scheme.
func hostOf(h docker.RegistryHost, c config.RegistryConfig) (host, error) {
	told := host{URL: h.Scheme + "://" + h.Host + h.Path}
	if c.Insecure != nil && *c.Insecure {
		local, err := docker.MatchLocalhost(h.Host)
		if err != nil {
			return host{}, err
		}
		told.Insecure = true
		told.Fallback = c.PlainHTTP == nil && local || c.PlainHTTP != nil && *c.PlainHTTP
	}
	cas, pairs := c.RootCAs, c.KeyPairs
	for _, dir := range c.TLSConfigDir {
		moreCAs, morePairs, err := filesIn(dir)
		if err != nil {
			return host{}, err
		}
		cas, pairs = append(cas[:len(cas):len(cas)], moreCAs...), append(pairs[:len(pairs):len(pairs)], morePairs...)
	}
	for _, file := range cas {
		file, err := filepath.Abs(file)
		if err != nil {
			return host{}, err
		}
		told.CAs = append(told.CAs, file)
	}
	for _, p := range pairs {
		cert, certErr := filepath.Abs(p.Certificate)
		key, keyErr := filepath.Abs(p.Key)
		if err := errors.Join(certErr, keyErr); err != nil {
			return host{}, err
		}
		told.KeyPairs = append(told.KeyPairs, keyPair{cert, key})
	}
	return told, nil
}

// filesIn returns the certificates in a directory as BuildKit finds them
// (util/resolver, loadTLSConfig).
func filesIn(dir string) (cas []string, pairs []config.TLSKeyPair, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(path, ".crt") {
			cas = append(cas, path)
		}
		if name, ok := strings.CutSuffix(path, ".cert"); ok {
			pairs = append(pairs, config.TLSKeyPair{Certificate: path, Key: name + ".key"})
		}
	}
	return cas, pairs, nil
}
