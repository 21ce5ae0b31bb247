package fetch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/ladle-dev/ladle/lru"
)

// Registries returns the hosts of a repository, "registry/path", in the order in which
// they are tried.
type Registries func(ctx context.Context, registry, repository string) ([]docker.RegistryHost, error)

const (
	// hostsFor is how long the hosts of a repository are cached.
	hostsFor = 10 * time.Second

	// maxRepositories bounds the repositories with cached hosts, and maxHosts the
	// hosts with recorded restrictions and failures.
	maxRepositories = 4096
	maxHosts        = 1024
)

// knownHosts caches the hosts of repositories.
type knownHosts struct {
	mu struct {
		sync.Mutex
		repositories *lru.Cache[string, hostsOf]
		hosts        []*host // the newest last; shared by repositories
	}
}

// hostsOf are the hosts of a repository.
type hostsOf struct {
	hosts []*host
	asked time.Time
}

func newKnownHosts() *knownHosts {
	k := &knownHosts{}
	k.mu.repositories = lru.New[string, hostsOf](maxRepositories)
	return k
}

func (k *knownHosts) get(repository string) hostsOf {
	k.mu.Lock()
	defer k.mu.Unlock()
	of, _ := k.mu.repositories.Get(repository)
	return of
}

// expire makes the next call of Client.hosts get the hosts of a repository anew.
func (k *knownHosts) expire(repository string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if of, ok := k.mu.repositories.Peek(repository); ok {
		k.mu.repositories.Add(repository, hostsOf{of.hosts, time.Time{}})
	}
}

// set stores the configured hosts of an image's repository, and returns them. A host with
// an unchanged configuration keeps its state.
func (k *knownHosts) set(img image, configured []docker.RegistryHost, now time.Time) []*host {
	k.mu.Lock()
	defer k.mu.Unlock()
	hosts := make([]*host, len(configured))
	for i, r := range configured {
		for _, h := range k.mu.hosts {
			if h.registry == img.registry && h.same(r) {
				hosts[i] = h
			}
		}
		if hosts[i] == nil {
			hosts[i] = &host{RegistryHost: r, registry: img.registry}
			k.mu.hosts = append(k.mu.hosts, hosts[i])
		}
	}
	if old := len(k.mu.hosts) - maxHosts; old > 0 {
		k.mu.hosts = append([]*host(nil), k.mu.hosts[old:]...)
	}
	k.mu.repositories.Add(img.Locator, hostsOf{hosts, now})
	return hosts
}

// AskAgain makes the client get the hosts of an image's repository anew: they may have
// changed. Without it, a change takes effect within ten seconds.
func (c *Client) AskAgain(ref string) {
	if img, err := parse(ref); err == nil {
		c.known.expire(img.Locator)
	}
}

// hosts returns the hosts of an image with the given capabilities; an error if there are
// none.
func (c *Client) hosts(ctx context.Context, img image, can docker.HostCapabilities) ([]*host, error) {
	all, err := c.allHosts(ctx, img)
	if err != nil {
		return nil, fmt.Errorf("hosts of %s: %w", img.registry, err)
	}
	able := capable(all, can)
	if len(able) == 0 {
		return nil, fmt.Errorf("no host is configured for %s", img.registry)
	}
	return able, nil
}

func (c *Client) allHosts(ctx context.Context, img image) ([]*host, error) {
	known := c.known.get(img.Locator)
	if known.hosts != nil && c.now().Sub(known.asked) < hostsFor {
		return known.hosts, nil
	}
	configured, err := c.registries(ctx, img.registry, img.Locator) // may read files and call lenders
	if err != nil {
		return nil, err
	}
	return c.known.set(img, configured, c.now()), nil
}

// capable returns the hosts with the given capabilities, each address once: a hosts.toml
// can have one address as its server and as a host, and then the settings of the host
// apply.
func capable(all []*host, can docker.HostCapabilities) (able []*host) {
	for _, h := range all {
		known := slices.ContainsFunc(able, func(o *host) bool {
			return o.Scheme == h.Scheme && o.Host == h.Host && o.Path == h.Path
		})
		if h.Capabilities.Has(can) && !known {
			able = append(able, h)
		}
	}
	return able
}
