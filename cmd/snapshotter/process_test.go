package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/ladle-dev/ladle/internal/logtest"
	"github.com/ladle-dev/ladle/internal/waittest"
)

// asLadle in the environment makes the test program run as ladle.
const asLadle = "LADLE_TEST_RUN_AS_LADLE"

func TestMain(m *testing.M) {
	if os.Getenv(asReader) != "" {
		readerMain(os.Stdin, os.Stdout)
		return
	}
	if os.Getenv(asLadle) == "" {
		os.Exit(m.Run())
	}
	main()
}

// ladle returns a command that runs ladle with args.
func ladle(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asLadle+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// daemonOptions say how a daemon is started; the zero value is fine.
type daemonOptions struct {
	root, address string   // made if empty
	config        string   // lines of the configuration
	env           []string // more of the environment
	listener      *os.File // passed as systemd would
	wrapper       []string // command that runs the daemon, given as its arguments
}

// process is a running daemon.
type process struct {
	t             *testing.T
	cmd           *exec.Cmd
	root, address string
	notes         *notes
	output        *logtest.Buffer
	exited        chan struct{} // closed when it has ended
	err           error         // then: how
}

// requireRoot skips a test that has to mount filesystems.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("root is needed")
	}
}

// startDaemon starts a daemon and waits until it says that it is ready. When
// the test ends it is killed, and nothing may be mounted below its root.
func startDaemon(t *testing.T, o daemonOptions) *process {
	t.Helper()
	d := launch(t, o)
	d.waitNote("READY=1")
	return d
}

// launch starts a daemon.
func launch(t *testing.T, o daemonOptions) *process {
	t.Helper()
	requireRoot(t)
	if o.root == "" {
		o.root = stateDir(t)
	}
	if o.address == "" {
		o.address = filepath.Join(t.TempDir(), "ladle.sock")
	}
	configFile := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(configFile, []byte(o.config), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &process{
		t: t, root: o.root, address: o.address,
		notes: listenForNotes(t), output: new(logtest.Buffer), exited: make(chan struct{}),
	}
	d.cmd = ladle("serve", "--root", o.root, "--address", o.address, "--config", configFile, "--log-level", "debug")
	d.cmd.Env = append(d.cmd.Env, "NOTIFY_SOCKET="+d.notes.path)
	d.cmd.Env = append(d.cmd.Env, o.env...)
	d.cmd.Stdout, d.cmd.Stderr = d.output, d.output
	if o.listener != nil {
		d.cmd.ExtraFiles = []*os.File{o.listener}
		// LISTEN_PID must be the process's own, so a shell sets it.
		o.wrapper = []string{"/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`}
	}
	if len(o.wrapper) > 0 {
		d.cmd.Path = o.wrapper[0]
		d.cmd.Args = slices.Concat(o.wrapper, []string{testProgram(t)}, d.cmd.Args[1:])
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	t.Cleanup(d.cleanup)
	return d
}

func testProgram(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// stateDir is a directory for a daemon's state. What is mounted below it when
// the test ends is unmounted.
func stateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		for _, m := range mountsBelow(t, dir) {
			t.Logf("still mounted: %s", m)
			if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", m, err)
			}
		}
	})
	return dir
}

// mountsBelow returns the mount points below dir, the last mounted first.
func mountsBelow(t *testing.T, dir string) (points []string) {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range infos {
		points = append([]string{m.Mountpoint}, points...)
	}
	return points
}

func (d *process) cleanup() {
	select {
	case <-d.exited:
	default:
		_ = d.cmd.Process.Kill() // it may have ended by now
		<-d.exited
	}
	if d.t.Failed() {
		d.t.Logf("ladle said:\n%s", d.output)
	}
}

func (d *process) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// stop stops the daemon as systemd does and checks that it ends well and
// leaves nothing mounted.
func (d *process) stop(ctx context.Context) {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-ctx.Done():
		d.t.Fatal("it does not stop")
	}
	if d.err != nil {
		d.t.Errorf("it ended with %v", d.err)
	}
	if m := mountsBelow(d.t, d.root); len(m) > 0 {
		d.t.Errorf("still mounted: %v", m)
	}
}

// waitNote waits until the daemon told systemd what is wanted.
func (d *process) waitNote(want string) {
	d.t.Helper()
	waittest.For(d.t, want, func() bool {
		select {
		case <-d.exited:
			d.t.Fatalf("it ended with %v:\n%s", d.err, d.output)
		default:
		}
		return d.notes.has(want)
	})
}

// notes is what a daemon tells systemd (sd_notify(3)).
type notes struct {
	path string
	mu   struct {
		sync.Mutex
		all []string
	}
}

func listenForNotes(t *testing.T) *notes {
	t.Helper()
	n := &notes{path: filepath.Join(t.TempDir(), "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for buf := make([]byte, 4096); ; {
			size, err := conn.Read(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.mu.all = append(n.mu.all, strings.Split(string(buf[:size]), "\n")...)
			n.mu.Unlock()
		}
	}()
	return n
}

func (n *notes) has(note string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.mu.all, note)
}
