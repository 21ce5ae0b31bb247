package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// A daemon that was killed comes back with all its snapshots, and without a
// registry if there is none; what was read before needs none.
func TestKilledDaemonComesBack(t *testing.T) {
	onDrivers(t, func(t *testing.T, c stack.Containerd, driver string) {
		l := newLabOn(t, c, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s", driver, onlyDemand)))
		d := l.Node.Daemon("ladle")
		local, unread := l.Push("debian-python", image.EStargz), l.Push("hostile-whiteouts", image.EStargz)
		l.Pull("ladle", local)
		l.Pull("ladle", unread)
		want := l.list("ladle", local)
		id := l.detached("ladle", local)
		l.shell(id, "echo kept > /root/kept; rm /etc/issue/text")
		before := committed(l.snapshots("ladle"))

		d.Kill()
		l.takeRegistry()
		l.start(d)
		if after := committed(l.snapshots("ladle")); !slices.Equal(before, after) {
			t.Errorf("committed snapshots are\n%q\nand were\n%q", after, before)
		}
		l.same(time.Now(), want, l.list("ladle", local))
		l.restart(id)
		if out := l.shell(id, "cat /root/kept "+readFile+" | head -1; test ! -e /etc/issue/text"); out != "kept" {
			t.Errorf("the container that was there before the kill shows %q", out)
		}

		l.giveRegistry()
		want, began := l.overlayfs("hostile-whiteouts")
		l.same(began, want, l.list("ladle", unread))
	})
}

// A daemon that is killed while it serves readers leaves them with errors, not
// with wrong bytes, and what it had fetched is right.
func TestDaemonIsKilledWhileReading(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := newLab(t, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s", driver, onlyDemand)))
			d := l.Node.Daemon("ladle")
			ref := l.Push("debian-python", image.EStargz)
			l.Pull("ladle", ref)
			id := l.detached("ladle", ref)
			const try = "if cat " + unreadFile + " > /dev/null 2>&1; then echo read it; else echo failed; fi"
			l.shell(id, strings.ReplaceAll(try, unreadFile, "/nothing"))
			l.Link.SetProfile(link.Profile{Bandwidth: 50e6})
			l.Link.Reset()
			reader := l.detachedWith("ladle", ref, "sh", "-c", "find /usr -type f -exec cat {} + > /dev/null")
			wait(t, "the reader has read some megabytes", func() bool { return l.Link.Counters().BytesDown > 4e6 })

			d.Kill()
			// With the driver fuse not even the shell starts.
			if out, err := l.Node.Exec(t.Context(), id, "sh", "-c", try); err == nil && strings.TrimSpace(out) != "failed" {
				t.Errorf("the shell printed %q", out)
			}
			l.Link.SetProfile(link.Profile{})
			l.start(d)
			l.restart(id)
			if sum := l.shell(id, "sha256sum < "+unreadFile); !strings.HasPrefix(sum, unreadSum) {
				t.Errorf("the file has digest %s; want %s", sum, unreadSum)
			}
			want, began := l.overlayfs("debian-python")
			l.same(began, want, l.list("ladle", ref))
			if err := l.Node.Remove(t.Context(), reader); err != nil {
				t.Error(err)
			}
		})
	}
}

// A daemon that is stopped leaves nothing mounted and says so by ending with
// success; with no registry it starts again, and nothing is fetched twice.
func TestStoppedDaemonComesBack(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := newLab(t, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s", driver, onlyDemand)))
			d := l.Node.Daemon("ladle")
			ref := l.Push("hostile-whiteouts", image.EStargz)
			l.Pull("ladle", ref)
			want := l.list("ladle", ref)
			if err := d.Stop(); err != nil {
				t.Fatal(err)
			}
			if left := mountsBelow(t, d.Root); len(left) > 0 {
				t.Errorf("left mounted: %q", left)
			}
			l.takeRegistry()
			l.start(d)
			l.same(time.Now(), want, l.list("ladle", ref))
			l.giveRegistry()
			l.Link.Reset()
			l.same(time.Now(), want, l.list("ladle", ref))
			if k := l.Link.Counters(); k.Requests > 0 {
				t.Errorf("%d requests for what is there", k.Requests)
			}
		})
	}
}

// start runs a daemon again, and waits until containerd has noticed: it dials a
// proxy plugin that was gone anew only after a pause (gRPC's connection backoff),
// and answers with errors until then.
func (l lab) start(d *stack.RunningDaemon) {
	l.Helper()
	if err := d.Start(l.Context()); err != nil {
		l.Fatal(err)
	}
	ctx, c := l.client()
	wait(l, "containerd reaches the daemon "+d.Name, func() bool {
		return c.SnapshotService(d.Name).Walk(ctx, func(context.Context, snapshots.Info) error { return nil }) == nil
	})
}

// restart ends the processes of a container, if there are any, and starts it
// again from its snapshot.
func (l lab) restart(id string) {
	l.Helper()
	l.Ctr("task", "rm", "--force", id)
	l.Ctr("task", "start", "--detach", id)
}

// committed describes the committed snapshots, in order.
func committed(all []snapshots.Info) []string {
	var names []string
	for _, s := range all {
		if s.Kind == snapshots.KindCommitted {
			names = append(names, fmt.Sprintf("%s over %q, labels %v", s.Name, s.Parent, s.Labels))
		}
	}
	slices.Sort(names)
	return names
}

// mountsBelow lists the mount points at and below dir.
func mountsBelow(t testing.TB, dir string) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			points = append(points, fields[4])
		}
	}
	return points
}
