package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// inPod starts a container in a user namespace, whose root is the user host of the host.
func (l lab) inPod(snapshotter, ref string, host int) (id string) {
	l.Helper()
	id, err := l.Node.RunDetached(l.Context(), stack.Container{
		Snapshotter: snapshotter, Ref: ref, Mapping: fmt.Sprintf("0:%d:65536", host), Args: []string{"sleep", "100000"},
	})
	if err != nil {
		l.Fatal(err)
	}
	return id
}

// owners lists all files of a container with their owners, modes and types, but for those
// that lazy layers have for themselves.
const owners = `find / -xdev -exec stat -c '%u:%g %a %F %n' {} + | grep -v -e '[.]landmark$' -e /stargz.index.json | sort`

// work is what a container in a user namespace does as its root.
const work = `
	cat /proc/self/uid_map /proc/self/gid_map
	echo new > /new
	chown 1000:100 /new /bin/busybox
	chmod 4750 /bin/busybox
	mkdir /dir && mv /new /dir/new && ln /dir/new /dir/link
	rm -r "/nodes/group" && mkdir /nodes/group
	echo more >> "/nodes/z first/child" && cat "/nodes/z first/child" "/nodes/twice"
	chown 0:0 /nodes/owned 2>/dev/null && echo changed || echo refused`

// A container in a user namespace sees and changes what it sees and changes with overlayfs, on
// each driver, beside others with another mapping and without one. For that nothing is fetched
// that a container without a mapping does not fetch. After the daemon was killed, it goes on.
func TestContainerInUserNamespace(t *testing.T) {
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		drivers := drivers
		if c.Release != "" {
			drivers = drivers[:1]
		}
		l := newLabOn(t, c, oneOfEach(onlyDemand)[:len(drivers)]...)
		ref := l.Push("hostile-nodes", image.EStargz)
		const first, second = 100000, 300000
		l.Pull("overlayfs", ref)
		oracle := l.inPod("overlayfs", ref, first)
		want := []string{l.shell(oracle, owners), l.shell(oracle, work), l.shell(oracle, owners)}
		for _, driver := range drivers {
			t.Run(driver, func(t *testing.T) {
				l := l.as(t)
				ladle := "ladle-" + driver
				l.Pull(ladle, ref)
				plain := l.detached(ladle, ref)
				l.shell(plain, "find / -xdev -type f -exec cat {} + | wc -c")
				before := l.Link.Counters().BytesDown

				one, two := l.inPod(ladle, ref, first), l.inPod(ladle, ref, second)
				for i, script := range []string{owners, work, owners} {
					l.sameLines(script, want[i], l.shell(one, script))
				}
				l.sameLines("another container", want[0], l.shell(two, owners))
				if more := l.Link.Counters().BytesDown - before; more != 0 {
					t.Errorf("%d bytes were fetched for containers in user namespaces", more)
				}
				l.sameUpper(oracle, "overlayfs", one, ladle)

				d := l.Node.Daemon(ladle)
				d.Kill()
				l.start(d)
				l.restart(two)
				l.sameLines("after a kill", want[0], l.shell(two, owners))
				for _, id := range []string{plain, one, two} {
					if err := l.Node.Remove(l.Context(), id); err != nil {
						t.Error(err)
					}
				}
				l.Ctr("images", "rm", "--sync", ref) // containerd removes the snapshots, too
				if left := mountsBelow(t, filepath.Join(d.Root, "m")); len(left) > 0 {
					t.Errorf("left mounted: %q", left)
				}
			})
		}
	})
}

// sameUpper compares the upper directories of containers: what they have changed, on disk.
func (l lab) sameUpper(one, snapshotter, other, ladle string) {
	l.Helper()
	list := func(id, snapshotter string) string {
		out, err := l.Node.Ctr(l.Context(), "snapshots", "--snapshotter", snapshotter, "mounts", "/rootfs", id)
		if err != nil {
			l.Fatal(err)
		}
		_, upper, _ := strings.Cut(out, "upperdir=")
		upper, _, _ = strings.Cut(upper, ",")
		cmd := exec.CommandContext(l.Context(), "sh", "-ec", `find . -printf '%U:%G %m %y %P\n' | sort`)
		cmd.Dir = strings.TrimSpace(upper)
		listing, err := cmd.Output()
		if err != nil {
			l.Fatal(err)
		}
		return string(listing)
	}
	l.sameLines("the upper directory", list(one, snapshotter), list(other, ladle))
}

// sameLines compares what was printed, by lines.
func (l lab) sameLines(what, overlayfs, ladle string) {
	l.Helper()
	want, got := strings.Split(overlayfs, "\n"), strings.Split(ladle, "\n")
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			l.Errorf("%s: line %d differs: overlayfs, ladle:\n%q\n%q", what, i, want[min(i, len(want)):min(i+3, len(want))], got[min(i, len(got)):min(i+3, len(got))])
			return
		}
	}
}
