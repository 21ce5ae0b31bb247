package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// setup is what one run of critest runs on.
type setup struct {
	release     string // of containerd; "" is the newest
	snapshotter string
	format      image.Format
}

func (s setup) String() string {
	release := s.release
	if release == "" {
		release = "newest"
	}
	return fmt.Sprintf("containerd %s, %s, %s", release, s.snapshotter, s.format)
}

// cniPlugins is where Debian's package containernetworking-plugins has its programs.
const cniPlugins = "/usr/lib/cni"

// network is the configuration of the pods' network: a bridge, and ports of the host that
// lead to pods.
const network = `{
  "cniVersion": "1.0.0",
  "name": "critest",
  "plugins": [
    {
      "type": "bridge", "bridge": "critest0", "isGateway": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "%s",
        "ranges": [[{"subnet": "10.88.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

// startNode starts a node for a set-up, whose pods have a network, and for which the
// registries of critest are r. Plugins of containerd's node resource interface connect to
// the socket nri. The caller closes it.
func startNode(ctx context.Context, s setup, r *stack.Registry, nri string) (*stack.Node, error) {
	if _, err := os.Stat(filepath.Join(cniPlugins, "bridge")); err != nil {
		return nil, fmt.Errorf("critest: %w (script/kube.sh installs it)", err)
	}
	n, err := stack.StartNode(ctx, stack.NodeOptions{
		Registry: r.Addr, Daemons: []stack.Daemon{stack.Ladle("ladle", "")}, CRISnapshotter: s.snapshotter,
		Containerd: stack.Containerd{Release: s.release, Edit: func(config string) string {
			config = strings.Replace(config, "  disable = true\n", fmt.Sprintf("  disable = false\n  socket_path = %q\n", nri), 1)
			before, after, _ := strings.Cut(config, "  bin_dirs = [")
			_, after, _ = strings.Cut(after, "\n")
			return before + fmt.Sprintf("  bin_dirs = [%q]\n", cniPlugins) + after
		}},
	})
	if err != nil {
		return nil, err
	}
	if err := configure(n, r); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// configure writes what containerd reads when it is needed: hosts and the network.
func configure(n *stack.Node, r *stack.Registry) error {
	files := map[string]string{
		filepath.Join(n.Dir, "cni", "critest.conflist"): fmt.Sprintf(network, filepath.Join(n.Dir, "cni", "addresses")),
	}
	for _, name := range registries {
		files[filepath.Join(n.Hosts, name, "hosts.toml")] = fmt.Sprintf(
			"server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", r.Addr)
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fmt.Errorf("critest: %w", err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return fmt.Errorf("critest: %w", err)
		}
	}
	return nil
}
