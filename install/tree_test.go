package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	parts "github.com/ladle-dev/ladle"
)

// host makes a tree of files, by path.
func host(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") { // only the directory matters
			path = filepath.Join(path, "file")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func options(root string) Options {
	return Options{
		Root: root,
		Files: Files{
			Version: "1", Program: []byte("program"), Config: parts.ExampleConfig, Unit: parts.Unit, DropIn: parts.ContainerdDropIn,
		},
		Daemon: Daemon{Address: "/run/ladle/ladle.sock", Root: "/var/lib/ladle", Config: "/etc/ladle/config.toml"},
	}
}

// list has all files below root but those of StateDir, with their modes and contents.
func list(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(path, filepath.Join(root, StateDir)) || path == filepath.Join(root, "var/lib") || path == filepath.Join(root, "var") {
			return err
		}
		c := content{}
		if !d.IsDir() {
			if c, err = read(path); err != nil {
				return err
			}
		}
		all = append(all, strings.Join([]string{path, c.SHA256, c.Mode.String(), c.Link}, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func text(t *testing.T, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

const (
	kindConfig = `# explicitly use v2 config format
version = 2
[proxy_plugins]
[proxy_plugins."fuse-overlayfs"]
  type = "snapshot"
  address = "/run/containerd-fuse-overlayfs.sock"
[plugins."io.containerd.grpc.v1.cri".containerd]
  discard_unpacked_layers = true
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  base_runtime_spec = "/etc/containerd/cri-base.json"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
`
	k3sDir   = "/var/lib/rancher/k3s/agent/etc/containerd/"
	rke2Dir  = "/var/lib/rancher/rke2/agent/etc/containerd/"
	k3sTable = `[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  disable_snapshot_annotations = true
  use_local_image_pull = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
`
	k3sOld = "version = 3\nroot = \"/var/lib/rancher/k3s/agent/containerd\"\n" + k3sTable
	k3sNew = "version = 3\nimports = [\"" + k3sDir + "config-v3.toml.d/*.toml\"]\n" + k3sTable
)

// hosts are trees as kinds of hosts have them, and what an installation makes of them.
var hosts = map[string]struct {
	files    map[string]string
	edit     func(*Options)
	flavor   string
	dropIn   string            // where it is
	has      map[string]string // a text that a file then has
	hasNot   map[string]string
	failsFor string // what the error says; nothing is changed
}{
	"stock without a configuration": {
		flavor: "stock", dropIn: "/etc/containerd/conf.d/ladle.toml",
		has: map[string]string{
			"/etc/containerd/config.toml":       "imports = [\"/etc/containerd/conf.d/*.toml\"]\n\nversion = 3",
			"/etc/containerd/conf.d/ladle.toml": "[plugins.\"io.containerd.cri.v1.images\"]\n  snapshotter = \"ladle\"",
			"/etc/systemd/system/ladle.service": "\nBefore=containerd.service\n",
		},
		hasNot: map[string]string{"/etc/containerd/conf.d/ladle.toml": "\n  disable_snapshot_annotations"},
	},
	"stock that imports": {
		files:  map[string]string{"/etc/containerd/config.toml": "version = 3\nimports = [\n  \"/opt/x.toml\", # one\n  \"more/*.toml\",\n]\n"},
		flavor: "stock", dropIn: "/etc/containerd/more/ladle.toml",
		hasNot: map[string]string{"/etc/containerd/config.toml": "ladle"},
	},
	"stock that imports a file": {
		files:  map[string]string{"/etc/containerd/config.toml": "# Mine.\nversion = 3\n  imports = [ # one\n  '/opt/x.toml']\n[debug]\n  level = \"info\"\n"},
		flavor: "stock", dropIn: "/etc/containerd/conf.d/ladle.toml",
		has: map[string]string{"/etc/containerd/config.toml": "imports = [\"/etc/containerd/conf.d/*.toml\",  # one\n  '/opt/x.toml']\n[debug]"},
	},
	"stock whose text looks like an import": {
		files:  map[string]string{"/etc/containerd/config.toml": "version = 3\nroot = '''\nimports = []\n'''\n"},
		flavor: "stock", failsFor: "by hand",
	},
	"stock of version 1": {
		files:  map[string]string{"/etc/containerd/config.toml": "[plugins.cri]\n"},
		flavor: "stock", failsFor: "containerd config migrate",
	},
	"stock that is no TOML": {
		files:  map[string]string{"/etc/containerd/config.toml": "version = \n"},
		flavor: "stock", failsFor: "/etc/containerd/config.toml",
	},
	"stock with limits on pulls": {
		files:  map[string]string{"/etc/containerd/config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images']\nmax_concurrent_downloads = 10\nsnapshotter = 'native'\n"},
		flavor: "stock", dropIn: "/etc/containerd/conf.d/ladle.toml",
		has: map[string]string{"/etc/containerd/conf.d/ladle.toml": "\n  disable_snapshot_annotations = false\n"},
	},
	"stock with another snapshotter": {
		files: map[string]string{"/etc/containerd/config.toml": "version = 3\n" +
			"[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\nplatform = 'linux/amd64'\nsnapshotter = 'nydus'\ndiffer = ''\nlimits = [1]\n"},
		flavor: "stock", dropIn: "/etc/containerd/conf.d/ladle.toml",
		has:    map[string]string{"/etc/containerd/conf.d/ladle.toml": "  platform = \"linux/amd64\"\n  snapshotter = \"nydus\"\n  limits = [1]\n"},
		hasNot: map[string]string{"/etc/containerd/conf.d/ladle.toml": "overlayfs"},
	},
	"stock for a runtime": {
		files: map[string]string{"/etc/containerd/config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd]\ndefault_runtime_name = 'crun'\n" +
			"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.crun]\nruntime_type = 'io.containerd.runc.v2'\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.crun.options]\nSystemdCgroup = true\n"},
		edit:   func(o *Options) { o.Mode = &Mode{Runtimes: []string{"lazy"}} },
		flavor: "stock", dropIn: "/etc/containerd/conf.d/ladle.toml",
		has: map[string]string{"/etc/containerd/conf.d/ladle.toml": "containerd.runtimes.lazy]\nruntime_type = 'io.containerd.runc.v2'\nsnapshotter = 'ladle'\n" +
			"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.lazy.options]\nSystemdCgroup = true\n"},
		hasNot: map[string]string{"/etc/containerd/conf.d/ladle.toml": "[plugins.\"io.containerd.cri.v1.images\"]"},
	},
	"kind": {
		files:  map[string]string{"/kind/": "", "/etc/containerd/config.toml": kindConfig},
		flavor: "kind", dropIn: "/etc/containerd/conf.d/ladle.toml",
		has: map[string]string{
			"/etc/containerd/config.toml":       "imports = [\"/etc/containerd/conf.d/*.toml\"]\n\n" + kindConfig,
			"/etc/containerd/conf.d/ladle.toml": "version = 2\n",
		},
		hasNot: map[string]string{"/etc/containerd/conf.d/ladle.toml": "[plugins.\"io.containerd.cri.v1"},
	},
	"kind for a runtime": {
		files:  map[string]string{"/kind/": "", "/etc/containerd/config.toml": kindConfig},
		edit:   func(o *Options) { o.Mode = &Mode{Runtimes: []string{"lazy"}} },
		flavor: "kind", dropIn: "/etc/containerd/conf.d/ladle.toml",
		has: map[string]string{"/etc/containerd/conf.d/ladle.toml": "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.lazy]\nbase_runtime_spec = '/etc/containerd/cri-base.json'\n"},
	},
	"k3s": {
		files:  map[string]string{k3sDir + "config.toml": k3sNew, "/etc/systemd/system/k3s-agent.service": ""},
		flavor: "k3s", dropIn: k3sDir + "config-v3.toml.d/ladle.toml",
		has: map[string]string{
			"/etc/systemd/system/ladle.service":    "\nBefore=k3s-agent.service\n",
			k3sDir + "config-v3.toml.d/ladle.toml": "\n  disable_snapshot_annotations = false\n",
			k3sDir + "config.toml":                 k3sNew,
		},
	},
	"k3s that imports nothing": {
		files:  map[string]string{k3sDir + "config.toml": k3sOld},
		flavor: "k3s", failsFor: "--template",
	},
	"k3s that was never started": {
		files:  map[string]string{k3sDir: ""},
		flavor: "k3s", failsFor: "start it once",
	},
	"k3s by its template": {
		files:  map[string]string{k3sDir + "config.toml": k3sOld},
		edit:   func(o *Options) { o.Template = true },
		flavor: "k3s", dropIn: k3sDir + "config-v3.toml.d/ladle.toml",
		has: map[string]string{k3sDir + "config-v3.toml.tmpl": "imports = [\"" + k3sDir + "config-v3.toml.d/*.toml\"]\n\n{{ template \"base\" . }}\n"},
	},
	"k3s with a template of its own": {
		files:  map[string]string{k3sDir + "config.toml": k3sOld, k3sDir + "config-v3.toml.tmpl": "version = {{ 3 }}\n[debug]\nlevel = \"{{ .Level }}\"\n"},
		flavor: "k3s", dropIn: k3sDir + "config-v3.toml.d/ladle.toml",
		has: map[string]string{k3sDir + "config-v3.toml.tmpl": "config-v3.toml.d/*.toml\"]\n\nversion = {{ 3 }}\n[debug]\n"},
	},
	"rke2": {
		files:  map[string]string{rke2Dir + "config.toml": strings.ReplaceAll(k3sNew, "k3s", "rke2"), "/usr/local/lib/systemd/system/rke2-agent.service": ""},
		flavor: "rke2", dropIn: rke2Dir + "config-v3.toml.d/ladle.toml",
		has: map[string]string{"/etc/systemd/system/ladle.service": "\nWantedBy=multi-user.target rke2-agent.service\n"},
	},
}

// Each host is set up, a second run changes nothing, and the undo leaves what was there.
func TestTrees(t *testing.T) {
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := host(t, h.files)
			before := list(t, root)
			o := options(root)
			if h.edit != nil {
				h.edit(&o)
			}
			f, err := flavorOf(root, "auto")
			if err != nil || f.name != h.flavor {
				t.Errorf("flavor is %q, %v", f.name, err)
			}
			_, err = Install(context.Background(), o)
			if h.failsFor != "" {
				if err == nil || !strings.Contains(err.Error(), h.failsFor) {
					t.Errorf("error is %v; it does not say %q", err, h.failsFor)
				}
				if got := list(t, root); !slices.Equal(got, before) {
					t.Errorf("it leaves\n%s", strings.Join(got, "\n"))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if text(t, root, h.dropIn) == "" {
				t.Errorf("there is no %s", h.dropIn)
			}
			for name, want := range h.has {
				if !strings.Contains(text(t, root, name), want) {
					t.Errorf("%s has no %q:\n%s", name, want, text(t, root, name))
				}
			}
			for name, not := range h.hasNot {
				if strings.Contains(text(t, root, name), not) {
					t.Errorf("%s has %q:\n%s", name, not, text(t, root, name))
				}
			}
			if _, err := parseTable([]byte(text(t, root, h.dropIn))); err != nil {
				t.Errorf("the drop-in: %v\n%s", err, text(t, root, h.dropIn))
			}
			again, err := Install(context.Background(), o)
			if err != nil || len(again) > 0 {
				t.Errorf("a second run changes %v, %v", again, err)
			}
			if _, err := Undo(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			if got := list(t, root); !slices.Equal(got, before) {
				t.Errorf("the undo leaves\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
			}
		})
	}
}

// What the user changed is kept, and what others put beside it.
func TestUndoKeepsWhatIsNotLadles(t *testing.T) {
	root := host(t, map[string]string{"/etc/containerd/config.toml": "version = 3\n"})
	o := options(root)
	if _, err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	changed := text(t, root, "/etc/containerd/config.toml") + "[debug]\n"
	for name, text := range map[string]string{
		"/etc/containerd/config.toml": changed, "/etc/ladle/config.toml": "root = \"/x\"\n", "/etc/containerd/conf.d/other.toml": "version = 3\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	o.Say = func(text string) { said = append(said, text) }
	if _, err := Undo(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if len(said) != 2 {
		t.Errorf("it says %q", said)
	}
	if got := text(t, root, "/etc/containerd/config.toml"); got != changed {
		t.Errorf("containerd's configuration is %q", got)
	}
	for name, there := range map[string]bool{
		"/etc/ladle/config.toml": true, "/etc/containerd/conf.d/other.toml": true,
		"/etc/containerd/conf.d/ladle.toml": false, "/usr/local/bin/ladle": false, unitPath: false, "/opt": false,
	} {
		if exists(filepath.Join(root, name)) != there {
			t.Errorf("%s is there: %t", name, !there)
		}
	}
}

// Kubelet is not left without its image service.
func TestUndoSparesKubelet(t *testing.T) {
	root := host(t, map[string]string{kubeletConfig: "kind: KubeletConfiguration\nimageServiceEndpoint: unix:///run/ladle/cri.sock\n"})
	o := options(root)
	o.Daemon.ImageService = "/run/ladle/cri.sock"
	if _, err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	before := list(t, root)
	if _, err := Undo(context.Background(), o); err == nil || !strings.Contains(err.Error(), "imageServiceEndpoint") {
		t.Errorf("error is %v", err)
	}
	if got := list(t, root); !slices.Equal(got, before) {
		t.Errorf("the undo leaves\n%s", strings.Join(got, "\n"))
	}
	o.Force = true
	if _, err := Undo(context.Background(), o); err != nil {
		t.Error(err)
	}
}

// A second process does not begin while one works.
func TestOneAtATime(t *testing.T) {
	root := host(t, nil)
	j, err := openJournal(filepath.Join(root, StateDir))
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	if _, err := Install(context.Background(), options(root)); err == nil || !strings.Contains(err.Error(), "another ladle install") {
		t.Errorf("error is %v", err)
	}
}

// A state of a later version is left as it is.
func TestLaterState(t *testing.T) {
	root := host(t, map[string]string{StateDir + "/state.json": `{"schema": 2}`})
	if _, err := Install(context.Background(), options(root)); err == nil || !strings.Contains(err.Error(), "a later version of ladle wrote it") {
		t.Errorf("error is %v", err)
	}
	if got := text(t, root, StateDir+"/state.json"); got != `{"schema": 2}` {
		t.Errorf("state is %s", got)
	}
}
