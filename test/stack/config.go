package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// writeConfigs writes the configuration of containerd, of the registry hosts,
// and of the daemons into the node's directory.
func (n *Node) writeConfigs() error {
	hosts := fmt.Sprintf("server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", n.Registry)
	files := map[string]string{
		filepath.Join(n.Hosts, n.Registry, "hosts.toml"): hosts,
		n.configFile(): n.options.edited(n.containerdConfig()),
	}
	replace := strings.NewReplacer("REGISTRY", n.Registry, "HOSTS", n.Hosts, "NODE", n.Dir, "CONTAINERD", n.Address)
	for _, d := range n.Daemons {
		files[d.configFile()] = replace.Replace(d.Config)
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fmt.Errorf("stack: %w", err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return fmt.Errorf("stack: %w", err)
		}
	}
	return nil
}

func (n *Node) configFile() string { return filepath.Join(n.Dir, "containerd.toml") }

func (n *Node) stateDir() string { return filepath.Join(n.Dir, "state") }

// containerdConfig is containerd's configuration file, version 3. Naming one
// unpack_config replaces containerd's own list, so overlayfs is named too.
// restrict_oom_score_adj lets pods start where root lacks CAP_SYS_RESOURCE.
func (n *Node) containerdConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, `version = 3
root = %[1]q
state = %[2]q
[debug]
  level = "warn"
[grpc]
  address = %[3]q
[ttrpc]
  address = %[4]q
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = [%[5]q]
  conf_dir = %[5]q
[plugins."io.containerd.cri.v1.images"]
  snapshotter = %[6]q
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %[7]q
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = %[8]q
`, filepath.Join(n.Dir, "root"), n.stateDir(), n.Address, n.Address+".ttrpc",
		filepath.Join(n.Dir, "cni"), n.criSnapshotter, n.Registry+"/"+sandboxImage, n.Hosts)
	names := []string{"overlayfs"}
	for _, d := range n.Daemons {
		names = append(names, d.Name)
		fmt.Fprintf(&b, `[proxy_plugins.%[1]q]
  type = "snapshot"
  address = %[2]q
  capabilities = ["remap-ids"]
  [proxy_plugins.%[1]q.exports]
    enable_remote_snapshot_annotations = "true"
    root = %[3]q
`, d.Name, d.Address, d.Root)
	}
	for _, name := range names {
		fmt.Fprintf(&b, `[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/%s"
  snapshotter = %q
  differ = "walking"
`, runtime.GOARCH, name)
	}
	return b.String()
}
