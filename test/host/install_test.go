package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
)

const images = `"io.containerd.cri.v1.images"`

// A host is set up, again, for one runtime only, upgraded, and set back.
func TestInstallAndUndo(t *testing.T) {
	m := newMachine(t, layout{})
	before := m.tree()
	if m.onLadle() {
		t.Fatal("containerd has ladle before")
	}
	m.installFromAPod()
	if !m.onLadle() {
		t.Fatal("containerd does not have ladle")
	}
	installed, starts := m.tree(), m.init.started(m.unit)
	if starts != 2 {
		t.Errorf("containerd was started %d times", starts)
	}
	daemon := m.init.started("ladle.service")
	if out := m.install(); !strings.Contains(out, "nothing was changed") || !slices.Equal(m.tree(), installed) {
		t.Errorf("a second run changes something: %s", out)
	}
	m.powerCut()
	if !m.onLadle() {
		t.Error("containerd does not have ladle after a boot")
	}
	starts++
	daemon++

	// An upgrade restarts ladle, and not containerd.
	m.must(os.Remove("/usr/local/bin/ladle")) // it runs
	m.write("/usr/local/bin/ladle", "#!/bin/false\n")
	m.install()
	if n := m.init.started("ladle.service"); n != daemon+1 {
		t.Errorf("ladle was started %d times; want %d", n, daemon+1)
	}
	if n := m.init.started(m.unit); n != starts {
		t.Errorf("containerd was started %d times; want %d", n, starts)
	}
	if !slices.Equal(m.tree(), installed) {
		t.Error("an upgrade to the same version changes something")
	}

	m.install("--runtime", "lazy")
	text, err := os.ReadFile("/etc/containerd/conf.d/ladle.toml")
	if err != nil || strings.Contains(string(text), "["+images+"]") {
		t.Errorf("CRI's default is %s, %v", text, err)
	}
	m.install() // the mode is remembered
	if n := m.init.started(m.unit); n != starts+1 {
		t.Errorf("containerd was started %d times; want %d", n, starts+1)
	}
	given := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(given, []byte("[store]\nreserve = \"20%\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	daemons := m.init.started("ladle.service")
	for range 2 { // the second time nothing is to be done
		m.install("--config-from", given)
	}
	if text, err := os.ReadFile("/etc/ladle/config.toml"); err != nil || string(text) != "[store]\nreserve = \"20%\"\n" {
		t.Errorf("the configuration is %q, %v", text, err)
	}
	if n := m.init.started("ladle.service"); n != daemons+1 {
		t.Errorf("ladle was started %d times for another configuration", n-daemons)
	}
	m.install("--undo")
	if got := m.tree(); !slices.Equal(got, before) {
		t.Errorf("after the undo there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
	}
	if m.onLadle() || m.init.runs("ladle.service") {
		t.Error("ladle is still there")
	}
	if out := m.install("--undo"); !strings.Contains(out, "nothing to undo") {
		t.Errorf("a second undo says %q", out)
	}
}

// installFromAPod installs by a process that has other mounts, as a pod has.
func (m *machine) installFromAPod() {
	m.Helper()
	program, err := place.Ladle()
	m.must(err)
	pod := fmt.Sprintf("mount -t tmpfs none /etc && mount -t tmpfs none /usr/local && exec %s install --enter %d", program, os.Getpid())
	cmd := exec.CommandContext(m.Context(), "unshare", "--mount", "sh", "-c", pod)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.Fatalf("%s: %v\n%s", pod, err, out)
	}
}

// An undo says which images are only in ladle, and does not take it from containers.
func TestUndoSaysWhatIsOnLadle(t *testing.T) {
	m := newMachine(t, layout{})
	m.install()
	cache, err := image.DefaultCache()
	m.must(err)
	img, err := cache.Image(t.Context(), "pause", image.Gzip)
	m.must(err)
	archive := filepath.Join(t.TempDir(), "image.tar")
	tag, err := name.NewTag("registry.example/gone:1")
	m.must(err, tarball.WriteToFile(archive, tag, img))
	m.client("images", "import", "--snapshotter", "ladle", archive)
	m.client("containers", "create", "--snapshotter", "ladle", "registry.example/gone:1", "container")
	m.fails("default/container", "--undo")
	if !m.onLadle() {
		t.Error("ladle was taken from a container")
	}
	m.client("containers", "rm", "container")
	layers, err := img.Layers()
	m.must(err)
	digest, err := layers[0].Digest()
	m.must(err)
	m.client("content", "rm", digest.String())
	if out := m.install("--undo", "--purge"); !strings.Contains(out, "default/registry.example/gone:1") {
		t.Errorf("the undo says %s", out)
	}
	for _, dir := range []string{"/var/lib/ladle-install", "/etc/ladle/config.toml", "/var/lib/ladle/store"} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
}

func (m *machine) client(args ...string) {
	m.Helper()
	if out, err := m.ctr(m.Context(), args...); err != nil {
		m.Fatalf("ctr %v: %v\n%s", args, err, out)
	}
}

// What does not work is put back, and containerd is not restarted for it.
func TestFailuresArePutBack(t *testing.T) {
	m := newMachine(t, layout{files: map[string]string{
		"/etc/containerd/config.toml": "version = 3\nimports = [\"conf.d/*.toml\"]\n",
	}})
	for what, c := range map[string]struct {
		file, text string
		says       string
		restarted  bool
	}{
		"ladle does not start":                {"/etc/ladle/config.toml", "root = \"/proc/none\"\n", "start ladle", false},
		"another drop-in sets what ladle has": {"/etc/containerd/conf.d/zz.toml", "version = 3\n[plugins." + images + "]\n  snapshotter = \"native\"\n", "another drop-in", false},
		"containerd does not start":           {"/usr/local/bin/containerd", "#!/bin/sh\n[ \"$1\" = --version ] || [ \"$3\" = config ] || test ! -e /etc/containerd/conf.d/ladle.toml || exit 1\nexec REAL \"$@\"\n", "restart containerd.service", true},
	} {
		t.Run(what, func(t *testing.T) {
			real, err := os.Readlink("/usr/local/bin/containerd")
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(c.file, "/usr/local/bin") {
				m.must(os.Remove(c.file))
			}
			m.write(c.file, strings.Replace(c.text, "REAL", real, 1))
			before, starts := m.tree(), m.init.started(m.unit)
			m.fails(c.says)
			if got := m.tree(); !slices.Equal(got, before) {
				t.Errorf("there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
			}
			if m.onLadle() {
				t.Error("containerd has ladle")
			}
			if restarted := m.init.started(m.unit) > starts; restarted != c.restarted {
				t.Errorf("containerd was restarted: %t", restarted)
			}
			m.must(os.Remove(c.file))
			if strings.HasPrefix(c.file, "/usr/local/bin") {
				m.must(os.Symlink(real, c.file))
			}
		})
	}
}
