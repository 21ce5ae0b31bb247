package config

import (
	"strings"
	"time"
)

// DefaultPath is the configuration file of a daemon without the flag --config.
const DefaultPath = "/etc/ladle/config.toml"

// MainEndpoint is the name of the endpoint at Daemon.Address.
const MainEndpoint = "main"

// Config is the whole file. Fields of the embedded structs are keys at the top of the file;
// the named structs are its tables.
type Config struct {
	Daemon
	Reading
	Observation

	Log        Log        `toml:"log"`
	Import     Import     `toml:"import"`
	Index      Index      `toml:"index"`
	Differ     Differ     `toml:"differ"`
	Store      Store      `toml:"store"`
	Blob       Blob       `toml:"blob"`
	Registries Registries `toml:"resolver"`
	CRI        CRI        `toml:"cri"`

	Credentials Credentials `toml:"credentials"`
}

// Daemon is the state directory, the sockets, and how trees are mounted.
type Daemon struct {
	Root      string     `toml:"root"`            // directory of all state
	Address   string     `toml:"address"`         // unix socket of the endpoint "main"
	Control   string     `toml:"control_address"` // unix socket of the control service: see ControlSocket
	Endpoints []Endpoint `toml:"endpoint"`        // more of them
	HostsDir  string     `toml:"hosts_dir"`
	Driver    string     `toml:"driver"` // one of Drivers
	Xino      string     `toml:"xino"`   // one of Xinos
	NoDedupe  bool       `toml:"no_dedupe"`
}

// Endpoint is a socket with a set of snapshots of its own, for one client's database.
type Endpoint struct {
	Name       string `toml:"name"`
	Address    string `toml:"address"`
	Containerd string `toml:"containerd_address"` // unix socket of the containerd that it is for; "": no diffs
}

// Reading configures how layers are opened and read.
type Reading struct {
	MountTimeout      Seconds `toml:"mount_timeout_sec"`
	ReadTimeout       Seconds `toml:"read_timeout_sec"`
	PrefetchSize      int64   `toml:"prefetch_size"` // bytes
	NoPrefetch        bool    `toml:"noprefetch"`
	NoBackgroundFetch bool    `toml:"no_background_fetch"`
}

// Observation has the addresses of metrics and profiles; "" for none.
type Observation struct {
	MetricsAddress string `toml:"metrics_address"` // TCP, host:port
	DebugAddress   string `toml:"debug_address"`   // unix socket
}

// Log configures the daemon's log.
type Log struct {
	Level  string `toml:"level"`  // one of Levels
	Format string `toml:"format"` // one of Formats
}

// Import configures how layers without an index are imported.
type Import struct {
	Enable        bool  `toml:"enable"`
	MaxConcurrent int   `toml:"max_concurrent"` // 0: one for each CPU
	KeepIndexes   int64 `toml:"keep_indexes"`   // bytes of indexes of removed layers
}

// Index configures which indexes of layers are believed.
type Index struct {
	Trust string `toml:"trust"` // one of Trusts
}

// Differ configures the diff service of the endpoint "main".
type Differ struct {
	Containerd string `toml:"containerd_address"` // unix socket; "": no diffs
}

// Store configures how layers are stored on disk.
type Store struct {
	Reserve Reserve `toml:"reserve"` // space that background fetch and prefetch leave free
}

// Blob configures how ranges of blobs are fetched.
type Blob struct {
	FetchingTimeout Seconds      `toml:"fetching_timeout_sec"`
	MaxRetries      int          `toml:"max_retries"`
	MinWait         Milliseconds `toml:"min_wait_msec"`
	MaxWait         Milliseconds `toml:"max_wait_msec"`
}

// CRI configures the proxy of containerd's CRI image service.
type CRI struct {
	Address      string `toml:"address"`       // unix socket that is served; "" for none
	ImageService string `toml:"image_service"` // containerd's unix socket
}

// Registries configures how registries are reached, with stargz-snapshotter's keys.
type Registries struct {
	RequestTimeout Seconds         `toml:"request_timeout_sec"`
	Host           map[string]Host `toml:"host"` // by the host of image references
}

// Host has the mirrors of a host.
type Host struct {
	Mirrors []Mirror `toml:"mirrors"` // in the order in which they are tried
}

// Mirror is a host that may have the blobs of another one.
type Mirror struct {
	Host           string         `toml:"host"`     // host or host:port, no scheme
	Insecure       bool           `toml:"insecure"` // plain http
	RequestTimeout Seconds        `toml:"request_timeout_sec"`
	Header         map[string]any `toml:"header"` // a string or a list of strings each
}

// Seconds is a duration in the file, in seconds.
type Seconds int64

// Duration returns s as a duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Milliseconds is a duration in the file, in milliseconds.
type Milliseconds int64

// Duration returns m as a duration.
func (m Milliseconds) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Default returns the configuration of a daemon that has no file.
func Default() Config {
	return Config{
		Daemon: Daemon{
			Root:     "/var/lib/ladle",
			Address:  "/run/ladle/ladle.sock",
			Control:  "auto",
			HostsDir: "/etc/containerd/certs.d",
			Driver:   "auto",
			Xino:     "auto",
		},
		Reading: Reading{
			MountTimeout: 30,
			ReadTimeout:  60,
		},
		Log:        Log{Level: "info", Format: "text"},
		Import:     Import{Enable: true, KeepIndexes: 512 << 20},
		Index:      Index{Trust: "bound"},
		Differ:     Differ{Containerd: "/run/containerd/containerd.sock"},
		Store:      Store{Reserve: "auto"},
		Blob:       Blob{FetchingTimeout: 30, MaxRetries: 5, MinWait: 30, MaxWait: 5000},
		Registries: Registries{RequestTimeout: 30},
		CRI:        CRI{ImageService: "/run/containerd/containerd.sock"},

		Credentials: Credentials{Lent: true, Secrets: []string{}, Docker: true},
	}
}

// AllEndpoints returns the main endpoint, and then the endpoints of the file.
func (c *Config) AllEndpoints() []Endpoint {
	return append([]Endpoint{{Name: MainEndpoint, Address: c.Address, Containerd: c.Differ.Containerd}}, c.Endpoints...)
}

// ControlSocket returns the path of the control service's socket, or "" if there is to be none.
// By default it is beside that of the main endpoint: two daemons that have different addresses
// have different ones.
func (c *Config) ControlSocket() string {
	if c.Control != "auto" {
		return c.Control
	}
	return strings.TrimSuffix(c.Address, ".sock") + "-control.sock"
}
