package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
)

// annotate is the line of the drop-in that makes CRI say which image a layer is of.
// It is a comment there.
const annotate = "disable_snapshot_annotations = false\n"

// Each of these settings makes CRI pull without the transfer service, which knows
// of the plugin's exports (containerd, internal/cri/config,
// CheckLocalImagePullConfigs). registry.configs and registry.auths do as mirrors.
var localPulls = map[string]string{
	"default":                  "",
	"discard_unpacked_layers":  "  discard_unpacked_layers = true\n",
	"max_concurrent_downloads": "  max_concurrent_downloads = 10\n",
	"image_pull_with_sync_fs":  "  image_pull_with_sync_fs = true\n",
	"use_local_image_pull":     "  use_local_image_pull = true\n",
	"registry.mirrors":         "  [plugins.\"io.containerd.cri.v1.images\".registry.mirrors.\"REGISTRY\"]\n    endpoint = [\"http://REGISTRY\"]\n",
}

// With the drop-in that is installed, what is pulled through CRI is lazy if CRI uses
// the transfer service. Else the log names the line of the drop-in that makes it lazy,
// which it then is whatever else is configured.
func TestPullsOfCRIWithTheDropIn(t *testing.T) {
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		l := newLabOn(t, c, stack.Ladle("ladle", ""))
		img := l.image("hostile-whiteouts", image.EStargz)
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		ref := l.push(img)
		for name, setting := range localPulls {
			if c.Release != "" && name != "default" && name != "discard_unpacked_layers" {
				continue // the same code of containerd
			}
			for _, annotated := range []bool{false, true} {
				if annotated {
					l.dropIn(setting, "# "+annotate, annotate)
				} else {
					l.dropIn(setting, "", "")
				}
				log := len(l.daemonLog())
				lazy := l.pullThroughCRI(ref)
				text := strings.ReplaceAll(l.daemonLog()[log:], `\"`, `"`)
				want := len(layers)
				if !annotated && name != "default" {
					want = 0
				}
				if lazy != want {
					t.Errorf("%s, annotated %t: %d of %d layers are lazy; want %d", name, annotated, lazy, len(layers), want)
				}
				if named := strings.Contains(text, "set disable_snapshot_annotations = false in"); named != (want == 0) {
					t.Errorf("%s, annotated %t: the log names the setting: %t", name, annotated, named)
				}
				if !strings.Contains(text, `image="`+ref+`"`) && want > 0 {
					t.Errorf("%s: the log does not name the image:\n%s", name, text)
				}
			}
		}
	})
}

// dropIn restarts containerd with the drop-in that is installed, with the text before
// replaced by after, beside a main configuration with a setting of CRI's images.
func (l lab) dropIn(setting, before, after string) {
	l.Helper()
	root, err := place.Root()
	if err != nil {
		l.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "script", "containerd-ladle.toml"))
	if err != nil {
		l.Fatal(err)
	}
	if !strings.Contains(string(text), before) {
		l.Fatalf("the drop-in has no %q", before)
	}
	d := l.Node.Daemon("ladle")
	here := strings.NewReplacer(`"/run/ladle/ladle.sock"`, `"`+d.Address+`"`, `"/var/lib/ladle"`, `"`+d.Root+`"`)
	dropped := here.Replace(strings.Replace(string(text), before, after, 1))
	name := filepath.Join(l.Node.Dir, "conf.d", "ladle.toml")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(dropped), 0o644); err != nil {
		l.Fatal(err)
	}
	err = l.Node.Reconfigure(l.Context(), func(config string) string {
		config, _, _ = strings.Cut(config, "[proxy_plugins.")
		config = strings.Replace(config, "version = 3\n", "version = 3\nimports = [\""+filepath.Join(l.Node.Dir, "conf.d")+"/*.toml\"]\n", 1)
		registry := strings.Index(config, "  [plugins.\"io.containerd.cri.v1.images\".registry]")
		if strings.Contains(setting, "registry") {
			return strings.Replace(config[:registry], `  snapshotter = "ladle"`+"\n", "", 1) + strings.ReplaceAll(setting, "REGISTRY", l.Node.Registry)
		}
		return strings.Replace(config, `  snapshotter = "ladle"`+"\n", setting, 1)
	})
	if err != nil {
		l.Fatal(err)
	}
}

// pullThroughCRI pulls an image that is not there, removes it, and returns how many
// of its layers were lazy.
func (l lab) pullThroughCRI(ref string) (lazy int) {
	l.Helper()
	l.pullByCRI(ref)
	l = l.in("k8s.io")
	lazy = l.remote("ladle")
	ctx, c := l.client()
	all, err := c.ImageService().List(ctx)
	if err != nil {
		l.Fatal(err)
	}
	for _, img := range all {
		if err := c.ImageService().Delete(ctx, img.Name, images.SynchronousDelete()); err != nil {
			l.Fatal(err)
		}
	}
	return lazy
}

func (l lab) daemonLog() string {
	l.Helper()
	text, err := os.ReadFile(l.Node.Daemon("ladle").LogFile)
	if err != nil {
		l.Fatal(err)
	}
	return string(text)
}
