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

// host is a host of a registry in an answer to ladle. File names are absolute paths.
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

// hostsOf returns the hosts of a registry in the order in which BuildKit tries them; none
// if BuildKit's configuration has no section for the registry.
func (l *Lender) hostsOf(registry string) ([]host, error) {
	configured, ok := l.registries[registry]
	if !ok {
		return nil, nil
	}
	all, err := l.hosts(registry)
	if err != nil {
		return nil, err
	}
	var hosts []host
	for i, h := range all {
		settings := configured // the last host is the registry itself
		if i < len(all)-1 {
			settings = l.registries[h.Host]
		}
		answer, err := hostOf(h, settings)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", registry, err)
		}
		hosts = append(hosts, answer)
	}
	return hosts, nil
}

// hostOf returns the settings with which BuildKit reaches h (util/resolver,
// fillInsecureOpts). Plain HTTP without a fallback is expressed by the scheme.
func hostOf(h docker.RegistryHost, c config.RegistryConfig) (host, error) {
	answer := host{URL: h.Scheme + "://" + h.Host + h.Path}
	if c.Insecure != nil && *c.Insecure {
		local, err := docker.MatchLocalhost(h.Host)
		if err != nil {
			return host{}, err
		}
		answer.Insecure = true
		answer.Fallback = c.PlainHTTP == nil && local || c.PlainHTTP != nil && *c.PlainHTTP
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
		answer.CAs = append(answer.CAs, file)
	}
	for _, p := range pairs {
		cert, certErr := filepath.Abs(p.Certificate)
		key, keyErr := filepath.Abs(p.Key)
		if err := errors.Join(certErr, keyErr); err != nil {
			return host{}, err
		}
		answer.KeyPairs = append(answer.KeyPairs, keyPair{cert, key})
	}
	return answer, nil
}

// filesIn returns the certificates in a directory by the rules of BuildKit
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
