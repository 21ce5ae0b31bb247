package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

// killer builds internal/installtest.
func killer(m *machine) string {
	m.Helper()
	root, err := place.Root()
	m.must(err)
	path := filepath.Join(m.TempDir(), "installtest")
	build := exec.CommandContext(m.Context(), "go", "build", "-o", path, "./internal/installtest")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		m.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// until runs an installation, or an undo, until it is killed before a step.
func (m *machine) until(killer, step string, undo ...string) (output string, killed bool) {
	m.Helper()
	ladle, err := place.Ladle()
	m.must(err)
	script := filepath.Join(filepath.Dir(killer), "ladle") // which is written faster
	m.write(script, "#!/bin/sh\nexec "+ladle+" \"$@\"\n")
	cmd := exec.CommandContext(m.Context(), killer, append([]string{script, step}, undo...)...)
	cmd.Env = append(process.Environment(), "PATH="+m.path)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		if exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return string(out), true
		}
		m.Fatalf("%s: %v\n%s", step, err, out)
	}
	m.must(err)
	return string(out), false
}

// An installation and an undo are killed before each of their steps, and the machine is switched
// off. Containerd starts with its old configuration or the new one, and the next run
// completes.
func TestKilledAtEveryStep(t *testing.T) {
	m := newMachine(t, layout{files: map[string]string{"/etc/containerd/config.toml": leanConfig}})
	program := killer(m)
	clean := m.tree()
	m.save("clean")
	out, _ := m.until(program, "?")
	installing := steps(out)
	installed := m.tree()
	m.save("installed")
	out, _ = m.until(program, "?", "undo")
	undoing := steps(out)
	m.same(clean)
	if len(installing) < 12 || len(undoing) < 8 {
		t.Fatalf("steps are %q and %q", installing, undoing)
	}
	for _, c := range []struct {
		from  string
		steps []string
		args  []string
		want  []string
		ladle bool
	}{
		{"clean", installing, nil, installed, true},
		{"installed", undoing, []string{"undo"}, clean, false},
	} {
		had := map[bool]bool{}
		for _, step := range c.steps {
			m.init.crash()
			m.restore(c.from)
			if _, killed := m.until(program, step, c.args...); !killed {
				t.Errorf("there is no step %q", step)
			}
			m.powerCut()
			had[m.onLadle()] = true
			m.until(program, "", c.args...)
			if m.has() != c.ladle || !slices.Equal(m.tree(), c.want) {
				t.Errorf("killed before %q, the next run leaves\n%s\nwant\n%s", step, strings.Join(m.tree(), "\n"), strings.Join(c.want, "\n"))
			}
		}
		if len(had) != 2 {
			t.Errorf("containerd had one configuration only: %v", had)
		}
	}
}

// leanConfig has no CRI, which takes most of the time of a start.
const leanConfig = "version = 3\n# A comment.\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\"]\n"

func steps(out string) []string { return strings.Split(strings.TrimSpace(out), "\n") }

// same compares the host with what it was.
func (m *machine) same(want []string) {
	m.Helper()
	if got := m.tree(); !slices.Equal(got, want) {
		m.Errorf("there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if left, err := os.ReadDir("/var/lib/ladle-install/kept"); err != nil || len(left) > 0 {
		m.Errorf("kept are %v, %v", left, err)
	}
}
