package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Values of keys with a closed set of values.
var (
	Drivers = []string{"auto", "erofs", "loop", "fuse"}           // of driver
	Xinos   = []string{"auto", "on", "off"}                       // of xino
	Levels  = []string{"trace", "debug", "info", "warn", "error"} // of log.level
	Formats = []string{"text", "json"}                            // of log.format
	Trusts  = []string{"bound", "attached"}                       // of index.trust
)

// endpointName matches the permitted names of endpoints, which are also the names of their
// directories.
var endpointName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// maxSocketPath is the longest path of a unix socket, in bytes: sun_path of unix(7) has 108,
// the last one zero.
const maxSocketPath = 107

// Validate returns every rule that c breaks, joined into one error, or nil.
func (c *Config) Validate() error {
	var p problems
	c.validateDaemon(&p)
	c.validateReading(&p)
	c.validateStore(&p)
	c.validateBlob(&p)
	c.validateRegistries(&p)
	c.validateCredentials(&p)
	p.oneOf("log.level", c.Log.Level, Levels)
	p.oneOf("log.format", c.Log.Format, Formats)
	p.oneOf("index.trust", c.Index.Trust, Trusts)
	if c.MetricsAddress != "" {
		if _, _, err := net.SplitHostPort(c.MetricsAddress); err != nil {
			p.add("metrics_address", "%v", err)
		}
	}
	return errors.Join(p...)
}

func (c *Config) validateDaemon(p *problems) {
	p.absolute("root", c.Root)
	// These separate and escape lowerdirs in overlayfs's mount option.
	if strings.ContainsAny(c.Root, `:,\`) {
		p.add("root", "%q must not contain any of : , \\", c.Root)
	}
	if c.HostsDir != "" {
		p.absolute("hosts_dir", c.HostsDir)
	}
	p.oneOf("driver", c.Driver, Drivers)
	p.oneOf("xino", c.Xino, Xinos)

	sockets := map[string]string{}
	seen := map[string]bool{}
	p.socket("address", c.Address, sockets)
	p.client("differ.containerd_address", c.Differ.Containerd)
	for i, e := range c.AllEndpoints() {
		if i == 0 {
			seen[e.Name] = true
			continue
		}
		if !endpointName.MatchString(e.Name) {
			p.add("endpoint.name", "%q is not 1 to 32 of a-z, 0-9 and -, or starts with -", e.Name)
		}
		if seen[e.Name] {
			p.add("endpoint.name", "%q is there already", e.Name)
		}
		seen[e.Name] = true
		p.socket("endpoint.address", e.Address, sockets)
		p.client("endpoint.containerd_address", e.Containerd)
	}
	if control := c.ControlSocket(); control != "" {
		p.socket("control_address", control, sockets)
	}
	if c.DebugAddress != "" {
		p.socket("debug_address", c.DebugAddress, sockets)
	}
	if c.CRI.Address != "" {
		p.socket("cri.address", c.CRI.Address, sockets)
	}
	p.socket("cri.image_service", c.CRI.ImageService, sockets) // one of ladle's own would call itself
}

func (c *Config) validateReading(p *problems) {
	p.atLeast("mount_timeout_sec", int64(c.MountTimeout), 1)
	p.atLeast("read_timeout_sec", int64(c.ReadTimeout), 1)
	p.atLeast("prefetch_size", c.PrefetchSize, 0)
	p.atLeast("import.max_concurrent", int64(c.Import.MaxConcurrent), 0)
	p.atLeast("import.keep_indexes", c.Import.KeepIndexes, 0)
	if c.NoPrefetch && c.PrefetchSize > 0 {
		p.add("prefetch_size", "is set, but noprefetch is, too")
	}
}

func (c *Config) validateBlob(p *problems) {
	p.atLeast("blob.fetching_timeout_sec", int64(c.Blob.FetchingTimeout), 1)
	p.atLeast("blob.max_retries", int64(c.Blob.MaxRetries), 1)
	p.atLeast("blob.min_wait_msec", int64(c.Blob.MinWait), 1)
	if c.Blob.MaxWait < c.Blob.MinWait {
		p.add("blob.max_wait_msec", "%d is less than blob.min_wait_msec, %d", c.Blob.MaxWait, c.Blob.MinWait)
	}
}

func (c *Config) validateRegistries(p *problems) {
	p.atLeast("resolver.request_timeout_sec", int64(c.Registries.RequestTimeout), 1)
	for host, h := range c.Registries.Host {
		for _, m := range h.Mirrors {
			key := fmt.Sprintf("resolver.host.%q.mirrors", host)
			if m.Host == "" || strings.Contains(m.Host, "://") {
				p.add(key+".host", "%q is not host or host:port", m.Host)
			}
			p.atLeast(key+".request_timeout_sec", int64(m.RequestTimeout), 0)
			if _, err := m.Headers(); err != nil {
				p.add(key+".header", "%v", err)
			}
		}
	}
}

// problems are the errors of all broken rules.
type problems []error

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, fmt.Errorf(key+": "+format, args...))
}

func (p *problems) absolute(key, path string) {
	if !filepath.IsAbs(path) {
		p.add(key, "%q is not an absolute path", path)
	}
}

func (p *problems) oneOf(key, value string, values []string) {
	if !slices.Contains(values, value) {
		p.add(key, "%q is none of %s", value, strings.Join(values, ", "))
	}
}

func (p *problems) atLeast(key string, value, least int64) {
	if value < least {
		p.add(key, "%d is less than %d", value, least)
	}
}

// client checks the path of another program's socket, which may be empty.
func (p *problems) client(key, path string) {
	if path != "" {
		p.absolute(key, path)
	}
}

// socket checks the path of a socket. taken has the keys of the sockets that were checked
// before, by path.
func (p *problems) socket(key, path string, taken map[string]string) {
	p.absolute(key, path)
	if len(path) > maxSocketPath {
		p.add(key, "%q is longer than %d bytes", path, maxSocketPath)
	}
	if by, ok := taken[path]; ok {
		p.add(key, "%q is that of %s, too", path, by)
	}
	taken[path] = key
}
