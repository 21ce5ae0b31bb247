package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
)

// containerd connects to a plugin when it first needs it. Its list of plugins says
// ok of one without a process; the check of docs/install.md does not.
func TestCheckOfTheInstallation(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", ""))
	d := l.Node.Daemon("ladle")
	check := documentedCheck(t)
	ctr, err := place.Component("ctr")
	if err != nil {
		t.Fatal(err)
	}
	run := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", check)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(ctr)+":"+os.Getenv("PATH"), "CONTAINERD_ADDRESS="+l.Node.Address)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for range 2 {
		if out, err := run(); err != nil {
			t.Errorf("%s: %v\n%s", check, err, out)
		}
	}
	if left := l.snapshots("ladle"); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if out, err := run(); err == nil || !strings.Contains(out, d.Address) {
		t.Errorf("without the daemon: %v\n%s", err, out)
	}
	plugins := strings.Split(l.Ctr("plugins", "ls"), "\n")
	said := func(line string) bool { return strings.Contains(line, " ladle ") && strings.Contains(line, " ok ") }
	if !slices.ContainsFunc(plugins, said) {
		t.Errorf("containerd notices by itself: say so in docs/install.md\n%s", strings.Join(plugins, "\n"))
	}
}

// documentedCheck is the command of docs/install.md.
func documentedCheck(t *testing.T) string {
	t.Helper()
	root, err := place.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "ctr snapshots --snapshotter ladle prepare ") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatal("docs/install.md has no check")
	return ""
}

// CRI looks for its images when containerd starts, and forgets those for which the
// daemon does not answer, also if somebody keeps its socket: containerd waits a
// second for a connection to be served. Whoever starts containerd has to start the
// daemon before, as the unit says. A pull makes an image known again, and another
// start of containerd all of them, and neither fetches anything.
func TestContainerdStartsWhileTheDaemonIsAway(t *testing.T) {
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		t.Run("socket kept", func(t *testing.T) {
			l := newLabOn(t, c, asService(t, stack.Ladle("ladle", "")))
			tell := func(sig syscall.Signal, answer string) {
				t.Helper()
				if err := syscall.Kill(l.Node.Daemon("ladle").PID(), sig); err != nil {
					t.Fatal(err)
				}
				wait(t, answer, func() bool { return strings.Contains(l.daemonLog(), answer+"\n") })
			}
			l.startsWhileAway(func() { tell(syscall.SIGUSR2, "service: down 1") }, func() { tell(syscall.SIGUSR1, "service: ready 2") })
		})
		t.Run("stopped", func(t *testing.T) {
			l := newLabOn(t, c, stack.Ladle("ladle", ""))
			d := l.Node.Daemon("ladle")
			l.startsWhileAway(func() {
				if err := d.Stop(); err != nil {
					t.Fatal(err)
				}
			}, func() {
				if err := d.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	})
}

func (l lab) startsWhileAway(stop, start func()) {
	l.Helper()
	pulled, other := l.Push("busybox", image.EStargz), l.Push("busybox", image.ZstdChunked)
	l.pullByCRI(pulled)
	l.pullByCRI(other)
	stop()
	l.restartContainerd()
	forgotten := func(ref string) bool { has, err := l.knows(ref); return err == nil && !has }
	wait(l, "CRI answers without the images", func() bool { return forgotten(pulled) && forgotten(other) })
	start()
	l.reached()
	if !forgotten(pulled) {
		l.Error("CRI looks again by itself: docs/troubleshooting.md says something else")
	}
	l.pullByCRI(pulled)
	l.waitForImage(pulled)
	l.restartContainerd()
	l.waitForImage(other)
	l = l.in("k8s.io")
	for _, format := range []image.Format{image.EStargz, image.ZstdChunked} {
		if fetched := l.fetched(l.image("busybox", format)); len(fetched) > 0 {
			l.Errorf("containerd fetched %q", fetched)
		}
	}
}

// reached waits until containerd reaches the daemon, which it dials anew only after
// a pause.
func (l lab) reached() {
	l.Helper()
	ctx, c := l.in("k8s.io").client()
	wait(l, "containerd reaches the daemon", func() bool {
		return c.SnapshotService("ladle").Walk(ctx, func(context.Context, snapshots.Info) error { return nil }) == nil
	})
}

func (l lab) restartContainerd() {
	l.Helper()
	if err := l.Node.StopContainerd(); err != nil {
		l.Fatal(err)
	}
	if err := l.Node.StartContainerd(l.Context()); err != nil {
		l.Fatal(err)
	}
}

func (l lab) pullByCRI(ref string) {
	l.Helper()
	_, client := l.criClient()
	if _, err := client.PullImage(l.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}}); err != nil {
		l.Fatal(err)
	}
}

// knows reports whether CRI has an image.
func (l lab) knows(ref string) (bool, error) {
	_, client := l.criClient()
	reply, err := client.ImageStatus(l.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
	if err != nil {
		return false, fmt.Errorf("status of %s: %w", ref, err)
	}
	return reply.Image != nil, nil
}

func (l lab) waitForImage(ref string) {
	l.Helper()
	wait(l, "CRI has "+ref, func() bool { has, err := l.knows(ref); return err == nil && has })
}
