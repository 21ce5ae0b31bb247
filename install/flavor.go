package install

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Flavors are the kinds of hosts that are known.
var Flavors = []string{"stock", "k3s", "rke2", "kind"}

// flavor is a kind of host. Paths are those of the host, whatever its root is.
type flavor struct {
	name     string
	config   string   // what containerd reads
	template string   // what config is generated from, "" if it is not; it need not exist
	dropIns  string   // the directory for drop-ins, if the configuration imports none yet
	address  string   // containerd's socket, if the configuration does not say
	programs []string // where containerd may be
	unit     string   // which runs containerd
}

// flavorOf returns the flavor with a name, or for "auto" the one that the files below root show.
func flavorOf(root, name string) (flavor, error) {
	if name == "" || name == "auto" {
		name = detect(root)
	}
	switch name {
	case "stock", "kind":
		return flavor{
			name: name, config: "/etc/containerd/config.toml", dropIns: "/etc/containerd/conf.d",
			address:  "/run/containerd/containerd.sock",
			programs: []string{"/usr/local/bin/containerd", "/usr/bin/containerd"},
			unit:     "containerd.service",
		}, nil
	case "k3s":
		return rancher(root, name, []string{"k3s", "k3s-agent"}, "data/current/bin/containerd"), nil
	case "rke2":
		return rancher(root, name, []string{"rke2-server", "rke2-agent"}, "bin/containerd"), nil
	}
	return flavor{}, fmt.Errorf("flavor %q is none of auto, %s", name, strings.Join(Flavors, ", "))
}

func detect(root string) string {
	for _, f := range []struct{ name, sign string }{
		{"kind", "/kind"},
		{"rke2", "/var/lib/rancher/rke2/agent/etc/containerd"},
		{"k3s", "/var/lib/rancher/k3s/agent/etc/containerd"},
	} {
		if isDir(filepath.Join(root, f.sign)) {
			return f.name
		}
	}
	return "stock"
}

// rancher is the flavor of k3s and rke2.
func rancher(root, name string, units []string, program string) flavor {
	data := path.Join("/var/lib/rancher", name)
	etc := path.Join(data, "agent/etc/containerd")
	f := flavor{
		name: name, config: path.Join(etc, "config.toml"), dropIns: path.Join(etc, "config-v3.toml.d"),
		template: path.Join(etc, "config-v3.toml.tmpl"),
		address:  "/run/k3s/containerd/containerd.sock",
		programs: []string{path.Join(data, program)},
		unit:     units[0] + ".service",
	}
	// The template for version 2 is used if there is none for version 3.
	if old := path.Join(etc, "config.toml.tmpl"); !exists(filepath.Join(root, f.template)) && exists(filepath.Join(root, old)) {
		f.template = old
	}
	dirs := []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
	for _, unit := range units {
		if slices.ContainsFunc(dirs, func(dir string) bool { return exists(filepath.Join(root, dir, unit+".service")) }) {
			f.unit = unit + ".service"
			break
		}
	}
	return f
}

func exists(name string) bool { _, err := os.Lstat(name); return err == nil }

func isDir(name string) bool { info, err := os.Stat(name); return err == nil && info.IsDir() }
