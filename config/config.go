package config

import "time"

// DefaultPath is where the daemon looks for its configuration if it is told
// nothing else.
const DefaultPath = "/etc/ladle/config.toml"

// MainEndpoint is the name of the endpoint at Daemon.Address.
const MainEndpoint = "main"

// Config is the whole file. The embedded structs are the keys at its top,
// the named ones are its tables.
type Config struct {
	Daemon
	Reading
	Observation

	Log        Log        `toml:"log"`
	Store      Store      `toml:"store"`
	Blob       Blob       `toml:"blob"`
	Registries Registries `toml:"resolver"`
}

// Daemon is where the daemon keeps and serves things.
type Daemon struct {
	Root      string     `toml:"root"`     // directory of all state
	Address   string     `toml:"address"`  // unix socket of the endpoint "main"
	Endpoints []Endpoint `toml:"endpoint"` // more of them
	HostsDir  string     `toml:"hosts_dir"`
	Driver    string     `toml:"driver"` // one of Drivers
	Xino      string     `toml:"xino"`   // one of Xinos
	NoDedupe  bool       `toml:"no_dedupe"`
}

// Endpoint is a socket with snapshots of its own, for one client database.
type Endpoint struct {
	Name    string `toml:"name"`
	Address string `toml:"address"`
}

// Reading is how layers are opened and read.
type Reading struct {
	MountTimeout      Seconds `toml:"mount_timeout_sec"`
	ReadTimeout       Seconds `toml:"read_timeout_sec"`
	PrefetchSize      int64   `toml:"prefetch_size"` // bytes
	NoPrefetch        bool    `toml:"noprefetch"`
	NoBackgroundFetch bool    `toml:"no_background_fetch"`
}

// Observation is where the daemon can be watched.
type Observation struct {
	MetricsAddress string `toml:"metrics_address"` // TCP, host:port
	DebugAddress   string `toml:"debug_address"`   // unix socket
}

// Log is what the daemon logs.
type Log struct {
	Level  string `toml:"level"`  // one of Levels
	Format string `toml:"format"` // one of Formats
}

// Store is how layers are kept on disk.
type Store struct {
	Reserve Reserve `toml:"reserve"` // what background fetch and prefetch leave free
}

// Blob is how ranges of blobs are fetched.
type Blob struct {
	FetchingTimeout Seconds      `toml:"fetching_timeout_sec"`
	MaxRetries      int          `toml:"max_retries"`
	MinWait         Milliseconds `toml:"min_wait_msec"`
	MaxWait         Milliseconds `toml:"max_wait_msec"`
}

// Registries is how registries are reached, in stargz-snapshotter's form.
type Registries struct {
	RequestTimeout Seconds         `toml:"request_timeout_sec"`
	Host           map[string]Host `toml:"host"` // by the host of image references
}

// Host is where to find what a host has.
type Host struct {
	Mirrors []Mirror `toml:"mirrors"` // in the order in which they are tried
}

// Mirror is a host that may have what another one has.
type Mirror struct {
	Host           string         `toml:"host"`     // host or host:port, no scheme
	Insecure       bool           `toml:"insecure"` // plain http
	RequestTimeout Seconds        `toml:"request_timeout_sec"`
	Header         map[string]any `toml:"header"` // a string or a list of strings each
}

// Seconds is a duration as the file has it.
type Seconds int64

// Duration returns s as a duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Milliseconds is a duration as the file has it.
type Milliseconds int64

// Duration returns m as a duration.
func (m Milliseconds) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Default returns the configuration of a daemon that has no file.
func Default() Config {
	return Config{
		Daemon: Daemon{
			Root:     "/var/lib/ladle",
			Address:  "/run/ladle/ladle.sock",
			HostsDir: "/etc/containerd/certs.d",
			Driver:   "auto",
			Xino:     "auto",
		},
		Reading: Reading{
			MountTimeout: 30,
			ReadTimeout:  60,
		},
		Log:        Log{Level: "info", Format: "text"},
		Store:      Store{Reserve: "auto"},
		Blob:       Blob{FetchingTimeout: 30, MaxRetries: 5, MinWait: 30, MaxWait: 5000},
		Registries: Registries{RequestTimeout: 30},
	}
}

// AllEndpoints returns the main endpoint and those of the file.
func (c *Config) AllEndpoints() []Endpoint {
	return append([]Endpoint{{Name: MainEndpoint, Address: c.Address}}, c.Endpoints...)
}
