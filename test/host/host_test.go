package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

const startTimeout = time.Minute

const containerdUnit = `[Service]
Type=notify
ExecStart=/usr/local/bin/containerd
[Install]
WantedBy=multi-user.target
`

// ourDirs are the directories in which an installation writes, or that others read it from.
var ourDirs = []string{"/etc/containerd", "/etc/ladle", "/etc/systemd/system", "/usr/local/bin", "/opt/containerd", "/var/lib/rancher"}

// machine is a host that runs containerd.
type machine struct {
	*testing.T
	init *systemd
	path string // PATH
	unit string // which runs containerd
	sock string // containerd's
}

// layout says what a machine has before ladle is installed.
type layout struct {
	release string            // of containerd; "" is the newest
	files   map[string]string // by path; one that begins with "#!" is a program
	unit    string            // which runs containerd, "" is containerd.service, which is there
	sock    string
}

func newMachine(t *testing.T, l layout) *machine {
	t.Helper()
	m := &machine{T: t, unit: l.unit, sock: l.sock}
	if m.unit == "" {
		m.unit, m.sock = "containerd.service", "/run/containerd/containerd.sock"
	}
	for _, dir := range ourDirs {
		m.must(os.RemoveAll(dir))
		m.must(os.MkdirAll(dir, 0o755))
	}
	m.must(os.RemoveAll("/var/lib/rancher"), os.RemoveAll("/var/lib/ladle-install"))
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		program, err := place.Component(name)
		if l.release != "" {
			program, err = place.Release(l.release, name)
		}
		m.must(err, os.Symlink(program, filepath.Join("/usr/local/bin", name)))
	}
	m.write(filepath.Join(unitDir, "containerd.service"), containerdUnit)
	for name, text := range l.files {
		m.write(name, text)
	}
	m.must(os.MkdirAll(filepath.Join(unitDir, bootWant+".wants"), 0o755),
		os.Symlink(filepath.Join(unitDir, m.unit), filepath.Join(unitDir, bootWant+".wants", m.unit)))

	tools := t.TempDir()
	self, err := os.Executable()
	m.must(err, os.Symlink(self, filepath.Join(tools, "systemctl")))
	m.path = tools + ":/usr/local/bin:" + os.Getenv("PATH")
	t.Setenv("PATH", m.path)
	t.Setenv("LADLE_TEST_INIT", initSocket())
	m.init, err = newSystemd()
	m.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("containerd said:\n%s\nladle said:\n%s", tail(m.init.log(m.unit)), tail(m.init.log("ladle.service")))
		}
		m.init.crash()
		m.must(m.init.listener.Close())
		m.reset()
	})
	m.must(m.init.boot())
	return m
}

func tail(s string) string { return s[max(0, len(s)-3000):] }

func (m *machine) must(errs ...error) {
	m.Helper()
	if err := errors.Join(errs...); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) write(name, text string) {
	m.Helper()
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	m.must(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), mode))
}

// reset does what a reset of the machine does to mounts and to /run.
func (m *machine) reset() {
	m.Helper()
	for _, dir := range []string{"/var/lib/ladle", "/var/lib/containerd", "/run"} {
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir + "/"))
		m.must(err)
		slices.Reverse(mounts)
		for _, mnt := range mounts {
			m.must(unix.Unmount(mnt.Mountpoint, unix.MNT_DETACH))
		}
	}
	all, err := os.ReadDir("/run")
	m.must(err)
	for _, e := range all {
		m.must(os.RemoveAll(filepath.Join("/run", e.Name())))
	}
}

// powerCut ends all processes, and boots.
func (m *machine) powerCut() {
	m.Helper()
	m.init.crash()
	m.reset()
	m.must(m.init.boot())
}

// ladle runs the command install of the program under test.
func (m *machine) ladle(args ...string) (string, error) {
	m.Helper()
	program, err := place.Ladle()
	m.must(err)
	cmd := exec.CommandContext(m.Context(), program, append([]string{"install"}, args...)...)
	cmd.Env = append(process.Environment(), "PATH="+m.path)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *machine) install(args ...string) string {
	m.Helper()
	out, err := m.ladle(args...)
	if err != nil {
		m.Fatalf("ladle install %v: %v\n%s", args, err, out)
	}
	return out
}

// fails runs the command, which has to fail and to say want.
func (m *machine) fails(want string, args ...string) {
	m.Helper()
	out, err := m.ladle(args...)
	if err == nil || !strings.Contains(out, want) {
		m.Errorf("ladle install %v: %v; it does not say %q:\n%s", args, err, want, out)
	}
}

// has reports whether containerd runs, and has ladle in its configuration.
func (m *machine) has() bool {
	m.Helper()
	out, err := m.ctr(m.Context(), "plugins", "ls")
	if err != nil {
		m.Fatalf("containerd does not answer: %v\n%s", err, out)
	}
	return slices.ContainsFunc(strings.Split(out, "\n"), func(l string) bool {
		f := strings.Fields(l)
		return len(f) > 1 && f[0] == "io.containerd.snapshotter.v1" && f[1] == "ladle"
	})
}

// onLadle is has. If containerd has ladle, it must reach it.
func (m *machine) onLadle() bool {
	m.Helper()
	if !m.has() {
		return false
	}
	for _, args := range [][]string{{"prepare", "check"}, {"rm", "check"}} {
		if out, err := m.ctr(m.Context(), append([]string{"snapshots", "--snapshotter", "ladle"}, args...)...); err != nil {
			m.Errorf("containerd has the plugin, but: %v\n%s", err, out)
		}
	}
	return true
}

func (m *machine) ctr(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"--address", m.sock}, args...)...).CombinedOutput()
	return string(out), err
}

// tree lists all files in ourDirs with their contents.
func (m *machine) tree() (all []string) {
	m.Helper()
	for _, dir := range ourDirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			line := fmt.Sprintf("%s %s", path, info.Mode())
			if info.Mode().IsRegular() {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				line += fmt.Sprintf(" %x", sha256.Sum256(b))
			}
			all = append(all, line)
			return nil
		})
		m.must(err)
	}
	return all
}

// save keeps all files of ourDirs, and what an installation has written of itself.
func (m *machine) save(name string) {
	m.Helper()
	m.each("tar", "--create", "--absolute-names", "--file", filepath.Join(scratch, name+".tar"))
}

// restore brings back what was saved.
func (m *machine) restore(name string) {
	m.Helper()
	m.each("rm", "--recursive", "--force")
	out, err := exec.CommandContext(m.Context(), "tar", "--extract", "--absolute-names", "--file", filepath.Join(scratch, name+".tar")).CombinedOutput()
	if err != nil {
		m.Fatalf("tar: %v\n%s", err, out)
	}
}

// each runs a command with all directories that there are.
func (m *machine) each(command ...string) {
	m.Helper()
	for _, dir := range append(slices.Clone(ourDirs), "/var/lib/ladle-install") {
		if _, err := os.Stat(dir); err == nil {
			command = append(command, dir)
		}
	}
	if out, err := exec.CommandContext(m.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
		m.Fatalf("%v: %v\n%s", command, err, out)
	}
}
