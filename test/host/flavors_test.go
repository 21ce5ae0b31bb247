package host

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// A node of kind has a configuration of version 2, which makes CRI pull without annotations.
const kindConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
  discard_unpacked_layers = true
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example/pause:1"
  tolerate_missing_hugepages_controller = true
`

const (
	k3sEtc    = "/var/lib/rancher/k3s/agent/etc/containerd"
	k3sSocket = "/run/k3s/containerd/containerd.sock"
	k3sUnit   = "[Service]\nType=notify\nExecStart=/usr/local/bin/k3s\n[Install]\nWantedBy=multi-user.target\n"
)

// k3s generates containerd's configuration, by a template if there is one, and runs containerd.
// This one is of before it imported a directory.
const k3s = `#!/bin/sh
cd ` + k3sEtc + ` || exit 1
base() { cat <<END
version = 3
root = "/var/lib/containerd"
[grpc]
  address = "` + k3sSocket + `"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  disable_snapshot_annotations = true
  use_local_image_pull = true
END
}
if [ -e config-v3.toml.tmpl ]; then
  while IFS= read -r line; do
    case $line in '{{ template "base" . }}') base ;; *) printf '%s\n' "$line" ;; esac
  done <config-v3.toml.tmpl >config.toml
else
  base >config.toml
fi
exec /usr/local/bin/containerd --config ` + k3sEtc + `/config.toml
`

func TestKind(t *testing.T) {
	m := newMachine(t, layout{release: "2.3", files: map[string]string{"/etc/containerd/config.toml": kindConfig}})
	before := m.tree()
	m.install("--flavor", "kind", "--runtime", "lazy")
	m.install("--flavor", "kind", "--set-default")
	if !m.onLadle() {
		t.Error("containerd does not have ladle")
	}
	r := m.check(0, "--flavor", "kind")
	if got := r.result("annotations"); got != "ok" {
		t.Errorf("annotations are %s: %+v", got, r)
	}
	if got := r.result("discard"); got != "warning" {
		t.Errorf("discarding is %s", got)
	}
	m.install("--undo", "--flavor", "kind")
	if got := m.tree(); !slices.Equal(got, before) {
		t.Errorf("the undo leaves\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
	}
}

func TestK3s(t *testing.T) {
	m := newMachine(t, layout{unit: "k3s.service", sock: k3sSocket, files: map[string]string{
		"/usr/local/bin/k3s": k3s, unitDir + "/k3s.service": k3sUnit, k3sEtc + "/.keep": "",
		"/var/lib/rancher/k3s/data/current/bin/containerd": "#!/bin/sh\nexec /usr/local/bin/containerd \"$@\"\n",
	}})
	before := m.tree()
	m.fails("--template")
	m.install("--template")
	if !m.onLadle() {
		t.Error("containerd does not have ladle")
	}
	if text, err := os.ReadFile(k3sEtc + "/config.toml"); err != nil || !strings.Contains(string(text), "config-v3.toml.d") {
		t.Errorf("the configuration is %s, %v", text, err)
	}
	if out := m.install("--template"); !strings.Contains(out, "nothing was changed") {
		t.Errorf("a second run changes something: %s", out)
	}
	m.powerCut()
	if !m.onLadle() {
		t.Error("containerd does not have ladle after a boot")
	}
	m.install("--undo")
	if got := m.tree(); !slices.Equal(got, before) || m.onLadle() {
		t.Errorf("the undo leaves\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
	}
}

// report is what --check --json prints.
type report struct {
	OK       bool
	Findings []struct{ Name, Result, Text string }
}

// result is that of one check, "" if there is none.
func (r report) result(name string) string {
	for _, f := range r.Findings {
		if f.Name == name {
			return f.Result
		}
	}
	return ""
}

// check runs --check, which has to end with an exit code.
func (m *machine) check(code int, args ...string) report {
	m.Helper()
	out, err := m.ladle(append([]string{"--check", "--json"}, args...)...)
	if (err == nil) != (code == 0) {
		m.Errorf("--check: %v\n%s", err, out)
	}
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		m.Fatalf("--check: %v\n%s", err, out)
	}
	if r.OK != (code == 0) {
		m.Errorf("ok is %t: %s", r.OK, out)
	}
	return r
}
