package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

// Daemon says how to run a snapshotter daemon.
type Daemon struct {
	Name   string // the plugin name in containerd
	Binary string // path of the program
	// Before and After are the arguments on both sides of --address, --root and
	// --config; nil for none.
	Before, After []string
	// Config is the content of the configuration file. REGISTRY in it stands
	// for the host:port of the registry, HOSTS for containerd's hosts directory,
	// NODE for the directory of the node, with containerd's socket containerd.sock, and
	// CONTAINERD for that socket.
	Config string

	missing error // why there is no binary
}

// Ladle is the daemon of this repository, registered under the given plugin
// name. Its configuration is the given one, and the node's hosts directory
// unless that names one. A missing binary is reported when the node starts.
func Ladle(name, config string) Daemon {
	binary, err := place.Ladle()
	if !strings.Contains(config, "hosts_dir") {
		config = "hosts_dir = \"HOSTS\"\n" + config
	}
	return Daemon{
		Name: name, Binary: binary, Before: []string{"serve"}, After: []string{"--log-level", "debug"},
		Config: config, missing: err,
	}
}

// Stargz is the peer, which BuildStargz builds: stargz-snapshotter with its own
// defaults and the given configuration, which must not name mirrors.
func Stargz(name, config string) Daemon {
	binary, err := place.Component("stargz-peer")
	return Daemon{
		Name: name, Binary: binary, missing: err,
		Config: config + "\n[[resolver.host.\"REGISTRY\".mirrors]]\nhost = \"REGISTRY\"\ninsecure = true\n",
	}
}

// BuildStargz builds the peer from bench/stargz, unless that is done.
func BuildStargz(ctx context.Context) error {
	root, err := place.Root()
	if err != nil {
		return err
	}
	cache, err := place.Cache()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(cache, "bin", "stargz-peer"), "./stargz")
	cmd.Dir = filepath.Join(root, "bench")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("stack: building the peer: %w\n%s", err, out)
	}
	return nil
}

// RunningDaemon is a daemon of a node.
type RunningDaemon struct {
	Daemon
	Address string // its socket
	Root    string // its --root
	LogFile string
	dir     string
	process.Process
}

func newRunningDaemon(d Daemon, dir string) *RunningDaemon {
	return &RunningDaemon{
		Daemon: d, dir: dir,
		Address: filepath.Join(dir, d.Name+".sock"),
		Root:    filepath.Join(dir, d.Name),
		LogFile: logFile("daemon-"+d.Name, dir),
	}
}

// configFile is where the daemon's configuration lies. It may be rewritten
// between Stop and Start.
func (d *RunningDaemon) configFile() string { return filepath.Join(d.dir, d.Name+".toml") }

// endpoint is the address of a further endpoint in a configuration of ladle.
var endpoint = regexp.MustCompile(`(?m)^\s*address = "(.+)"$`)

// sockets are the sockets that the daemon listens on.
func (d *RunningDaemon) sockets() ([]string, error) {
	config, err := os.ReadFile(d.configFile())
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	all := []string{d.Address}
	for _, match := range endpoint.FindAllStringSubmatch(string(config), -1) {
		all = append(all, match[1])
	}
	return all, nil
}

// Start runs the daemon, again after Stop or Kill, and waits for its sockets.
func (d *RunningDaemon) Start(ctx context.Context) error {
	if d.missing != nil {
		return fmt.Errorf("stack: %s: %w", d.Name, d.missing)
	}
	if err := os.MkdirAll(d.Root, 0o711); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	argv := append([]string{d.Binary}, d.Before...)
	argv = append(argv, "--address", d.Address, "--root", d.Root, "--config", d.configFile())
	argv = append(argv, d.After...)
	if err := start(&d.Process, "daemon-"+d.Name, d.dir, argv); err != nil {
		return err
	}
	sockets, err := d.sockets()
	if err != nil {
		return errors.Join(err, d.Stop())
	}
	return d.Ready(ctx, readyTimeout, func(ctx context.Context) error {
		for _, socket := range sockets {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
			if err != nil {
				return err
			}
			conn.Close()
		}
		return nil
	})
}
