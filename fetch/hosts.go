package fetch

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/auth"
)

// HostsOptions configure the hosts of registries. By the zero value each registry is its
// own host.
type HostsOptions struct {
	// Dirs are directories in the format of containerd's certs.d:
	// DIR/HOST_PORT_/hosts.toml, DIR/HOST/hosts.toml or DIR/_default/hosts.toml,
	// or certificates in Docker's layout. The first with an entry for a registry is
	// used. An entry is read again when it changes, and once an hour, since files
	// that it refers to can change.
	Dirs []string

	// Mirrors are tried before the hosts in Dirs, by registry.
	Mirrors map[string][]Mirror

	// Lent returns the hosts of a repository, "registry/path", according to its
	// lenders (package auth); nil: there are no lenders. It is not called for a
	// registry in Mirrors or with a directory of its own.
	Lent func(ctx context.Context, registry, repository string) ([]auth.Host, error)

	// Credentials returns the login for a host's challenge; nil: none.
	Credentials Credentials

	// Refused is called with a login of Credentials that the host refused; the zero value
	// if there was none. The error that it returns says what is known about that; nil:
	// nothing.
	Refused Refused

	// RequestTimeout bounds the time until the header of an answer [30 s].
	RequestTimeout time.Duration

	// Wrap returns the transport of all requests for a given one; nil: the given
	// one itself.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Credentials returns the login for a challenge; an empty one if no login is needed or
// known. ctx ends when no caller waits any more.
type Credentials func(context.Context, auth.Challenge) (auth.Login, error)

// Refused takes note of a refused login, and says why there is no better one.
type Refused func(auth.Challenge, auth.Login) error

// Mirror is a host that is tried before the hosts of a registry.
type Mirror struct {
	Host           string        // "name:port"
	Insecure       bool          // plain HTTP; implied for the local host
	Header         http.Header   // of each request
	RequestTimeout time.Duration // as in HostsOptions; zero: the one of HostsOptions
}

// anyRegistry is the name of the directory for registries without a directory of their
// own.
const anyRegistry = "_default"

// dirsFor is the time after which an unchanged directory is read again: it can refer to
// certificates elsewhere that have been renewed.
const dirsFor = time.Hour

// Hosts returns the hosts of each registry by opts: its mirrors in their order, then
// those of its directory, or, if that has none, the registry itself, by plain HTTP on the
// local host. Lent hosts replace these, unless the registry is configured explicitly.
// Connections and tokens are reused as long as the configuration does not change. ctx is
// for logging.
func Hosts(ctx context.Context, opts HostsOptions) Registries {
	c := &configured{ctx: ctx, opts: opts, lent: newLentHosts()}
	c.mu.registries = map[string]registryHosts{}
	return c.hosts
}

type configured struct {
	ctx  context.Context // for the log of containerd's configuration reader
	opts HostsOptions
	lent *lentHosts

	mu struct {
		sync.Mutex
		registries map[string]registryHosts
	}
}

type registryHosts struct {
	hosts    []docker.RegistryHost
	explicit bool   // configured by Mirrors or a directory of its own, not by _default
	stamp    string // of the directory: see dir
	read     time.Time
}

func (c *configured) hosts(ctx context.Context, registry, repository string) ([]docker.RegistryHost, error) {
	own, err := c.own(registry)
	if err != nil || own.explicit || c.opts.Lent == nil {
		return own.hosts, err
	}
	lent, err := c.opts.Lent(ctx, registry, repository)
	if err != nil || len(lent) == 0 {
		return own.hosts, err
	}
	return c.lend(registry, lent)
}

// own returns the configured hosts of registry, without lent ones.
func (c *configured) own(registry string) (registryHosts, error) {
	c.mu.Lock()
	defer c.mu.Unlock() // held while files are read, so that they are read once
	dir, stamp, err := c.dir(registry)
	if err != nil {
		return registryHosts{}, err
	}
	known := c.mu.registries[registry]
	if known.hosts != nil && known.stamp == stamp && time.Since(known.read) < dirsFor {
		return known, nil
	}
	hosts, err := c.read(registry, dir)
	if err != nil {
		return registryHosts{}, err
	}
	explicit := len(c.opts.Mirrors[registry]) > 0 || dir != "" && filepath.Base(dir) != anyRegistry
	known = registryHosts{hosts, explicit, stamp, time.Now()}
	c.mu.registries[registry] = known
	return known, nil
}

// dir returns the directory of registry, or "", and a stamp that changes when the
// directory does.
func (c *configured) dir(registry string) (dir, stamp string, err error) {
	for _, root := range c.opts.Dirs {
		dir, err := config.HostDirFromRoot(root)(registry)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", "", err
		}
		stamp, err := stampOf(dir)
		return dir, stamp, err
	}
	return "", "", nil
}

// stampOf returns the names, sizes and times of the files in dir.
func stampOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	s.WriteString(dir)
	for _, e := range entries {
		if info, err := os.Stat(dir + "/" + e.Name()); err == nil { // of the target of a link
			fmt.Fprintf(&s, "\n%s %d %d", e.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return s.String(), nil
}

func (c *configured) read(registry, dir string) ([]docker.RegistryHost, error) {
	var hosts []docker.RegistryHost
	for _, m := range c.opts.Mirrors[registry] {
		hosts = append(hosts, c.mirror(m))
	}
	first := true
	opts := config.HostOptions{
		HostDir:       func(string) (string, error) { return dir, nil },
		DefaultScheme: scheme(registry, false),
		UpdateClient: func(client *http.Client) error {
			tr, ok := client.Transport.(*http.Transport)
			if !ok {
				return fmt.Errorf("transport of type %T", client.Transport)
			}
			tune(tr, headerTimeout(c.opts.RequestTimeout))
			if first { // the others are copies of it, perhaps with a dial_timeout
				dialWithin(tr, dialTimeout)
			}
			first = false
			return nil
		},
	}
	dirHosts, err := config.ConfigureHosts(c.ctx, opts)(registry)
	if err != nil {
		return nil, err
	}
	wrapped := map[*http.Client]*http.Client{}
	for _, h := range dirHosts {
		if wrapped[h.Client] == nil {
			wrapped[h.Client] = c.wrap(h.Client)
		}
		h.Client = wrapped[h.Client]
		h.Authorizer = newAuthorizer(newTokenSource(h.Client, h.Header), c.opts.logins())
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func (c *configured) mirror(m Mirror) docker.RegistryHost {
	timeout := m.RequestTimeout
	if timeout == 0 {
		timeout = c.opts.RequestTimeout
	}
	client := c.wrap(&http.Client{Transport: newTransport(headerTimeout(timeout))})
	host := m.Host
	if host == "docker.io" {
		host = "registry-1.docker.io"
	}
	return docker.RegistryHost{
		Client:       client,
		Authorizer:   newAuthorizer(newTokenSource(client, m.Header), c.opts.logins()),
		Host:         host,
		Scheme:       scheme(host, m.Insecure),
		Path:         "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		Header:       m.Header,
	}
}

func (c *configured) wrap(client *http.Client) *http.Client {
	if c.opts.Wrap == nil {
		return client
	}
	w := *client
	w.Transport = c.opts.Wrap(client.Transport)
	return &w
}

func scheme(host string, insecure bool) string {
	if local, err := docker.MatchLocalhost(host); insecure || err == nil && local {
		return "http"
	}
	return "https"
}
