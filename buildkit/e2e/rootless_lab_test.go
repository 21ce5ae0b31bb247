package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/process"
)

// The kinds of workers that run in a user namespace, on a ladle in the same one.
const (
	rootlessOCI       = "rootless-oci"
	rootlessLadle     = "rootless-ladle-oci" // ladle-buildkitd
	rootlessOverlayfs = "rootless-overlayfs" // in the namespace, and not on ladle
)

var rootlessKinds = []string{rootlessOCI, rootlessLadle}

// rootless is a lab with a ladle and workers that an unprivileged user runs, in
// one user and mount namespace, by the commands of the units in script/.
type rootless struct {
	lab
	user  user
	ladle process.Process
	// The namespaces, which stay when the processes are gone.
	userNS, mountNS *os.File
}

// newRootless starts the kinds for a user who may map so many ids.
func newRootless(t *testing.T, ids int, kinds ...string) *rootless {
	t.Helper()
	r := &rootless{lab: newLab(t, labOptions{kinds: []string{onOverlayfs}}), user: newUser(t, ids)}
	config := onlyDemand + fmt.Sprintf("hosts_dir = %q\n[[endpoint]]\nname = \"second\"\naddress = %q\n", r.Node.Hosts, r.socket(rootlessLadle))
	r.user.mkdir(t, filepath.Dir(r.config()))
	write(t, r.config(), config+"[log]\nlevel = \"debug\"\n")
	r.startLadle(nil)
	r.Cleanup(r.stopLadle)
	r.userNS, r.mountNS = r.namespace("user"), r.namespace("mnt")
	for _, kind := range kinds {
		r.startRootless(kind)
	}
	return r
}

// The paths of %E, %h and %t of the units.
func (r *rootless) config() string { return filepath.Join(r.user.home(), ".config/ladle/config.toml") }

func (r *rootless) socket(kind string) string {
	if kind == rootlessOCI {
		kind = "buildkit"
	}
	return filepath.Join(r.user.sockets(), "ladle", kind+".sock")
}

// unit is the words of a unit's command, which the user runs.
func (r *rootless) unit(name string) []string {
	r.Helper()
	root, err := place.Root()
	if err != nil {
		r.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "script", name+".service"))
	if err != nil {
		r.Fatal(err)
	}
	_, command, _ := strings.Cut(string(text), "\nExecStart=")
	command, _, _ = strings.Cut(command, "\n")
	specifiers := strings.NewReplacer("%h", r.user.home(), "%E", filepath.Dir(filepath.Dir(r.config())), "%t", r.user.sockets())
	return strings.Fields(specifiers.Replace(command))
}

// startLadle starts ladle in the namespaces of a process, or, for nil, as the
// unit does, in new ones.
func (r *rootless) startLadle(in *worker.Worker) {
	r.Helper()
	command := r.unit("ladle-rootless")
	i := slices.Index(command, "/usr/local/bin/ladle")
	if i < 0 {
		r.Fatalf("the unit runs %q", command)
	}
	enter, args := command[:i], command[i+1:]
	if in != nil {
		enter = r.enter(in.PID())
	}
	err := r.ladle.Start(process.Options{
		Name: "rootless ladle", Log: filepath.Join(r.user.dir, "ladle.log"),
		Argv: r.user.command(slices.Concat(enter, mortal, []string{r.user.program("ladle")}, args)...),
	})
	if err != nil {
		r.Fatal(err)
	}
	err = r.ladle.Ready(context.WithoutCancel(r.Context()), time.Minute, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", r.socket(rootlessLadle))
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		r.Fatal(errors.Join(err, r.ladle.Stop()))
	}
}

// mortal begins the command line of a program that dies with its parent: what
// has become another user has lost that.
var mortal = []string{"setpriv", "--pdeathsig", "KILL"}

// enter is the beginning of a command line in the namespaces of a process: that
// of the unit.
func (r *rootless) enter(pid int) []string {
	r.Helper()
	command := strings.Join(r.unit("buildkitd-rootless"), " ")
	_, command, _ = strings.Cut(command, " -c 'exec ")
	command, _, found := strings.Cut(command, ` "$$(systemctl`)
	if !found {
		r.Fatal("the unit runs another command")
	}
	return append(strings.Fields(command), strconv.Itoa(pid))
}

func (r *rootless) namespace(kind string) *os.File {
	r.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", r.ladle.PID(), kind))
	if err != nil {
		r.Fatal(err)
	}
	return f
}

// startRootless starts buildkitd in ladle's namespaces.
func (r *rootless) startRootless(kind string) {
	r.Helper()
	dir := filepath.Join(r.user.home(), kind)
	r.user.mkdir(r.TB, dir)
	r.user.mkdir(r.TB, filepath.Join(dir, "tmp"))
	o := worker.Options{Dir: dir, Registries: []string{r.Link.Addr()}, Snapshotter: plugin, Proxy: r.socket(kind)}
	program := "buildkitd"
	switch kind {
	case rootlessLadle:
		program, o.Snapshotter = "ladle-buildkitd", mergingSnapshotter
	case rootlessOverlayfs:
		o.Snapshotter, o.Proxy = "overlayfs", ""
	}
	o.Command = r.user.command(slices.Concat(r.enter(r.ladle.PID()), mortal, []string{r.user.program(program), "--rootless"})...)
	r.startWorker(kind, o)
}

// stopLadle stops ladle after all others. Then nothing may be left in its
// namespaces.
func (r *rootless) stopLadle() {
	if r.Failed() {
		r.Log(r.ladle.Log())
	}
	if err := r.ladle.Stop(); err != nil {
		r.Error(err)
	}
	defer r.userNS.Close()
	defer r.mountNS.Close()
	for _, pid := range r.processes() {
		r.Errorf("process %s is left", pid)
	}
	for line := range strings.Lines(r.mounts()) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, r.user.home()) {
			r.Errorf("left mounted: %s", line)
		}
	}
}

// processes are those in the user namespace.
func (r *rootless) processes() (pids []string) {
	want, err := r.userNS.Stat()
	if err != nil {
		r.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*/ns/user")
	if err != nil {
		r.Fatal(err)
	}
	for _, name := range all {
		// One that has ended meanwhile, or may not be looked at, is not ours.
		if got, err := os.Stat(name); err == nil && os.SameFile(want, got) {
			pids = append(pids, strings.Split(name, "/")[2])
		}
	}
	return pids
}

// mounts is mountinfo of the mount namespace.
func (r *rootless) mounts() string {
	cmd := exec.Command("nsenter", "--user=/proc/self/fd/3", "--mount=/proc/self/fd/4", "cat", "/proc/self/mountinfo")
	cmd.ExtraFiles = []*os.File{r.userNS, r.mountNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("mounts: %v\n%s", err, out)
	}
	return string(out)
}
