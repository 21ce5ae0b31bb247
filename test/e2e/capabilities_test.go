package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// declaring is c with capabilities declared for the daemons, in the place of those of the
// drop-in, and with layers unpacked side by side where that is possible.
func declaring(c stack.Containerd, capabilities string) stack.Containerd {
	c.Edit = func(config string) string {
		const transfer = "[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]"
		config = strings.ReplaceAll(config, `capabilities = ["remap-ids"]`, "capabilities = ["+capabilities+"]")
		return strings.Replace(config, transfer, "[plugins.\"io.containerd.transfer.v1.local\"]\n  max_concurrent_unpacks = 4\n"+transfer, 1)
	}
	return c
}

// says checks that an error tells which capability is to be removed.
func says(t *testing.T, err error, capability string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), `remove "`+capability+`" from the capabilities of ladle's proxy plugin`) {
		t.Errorf("error %v; want one about the capability %s", err, capability)
	}
}

// With the capability rebase declared, layers are unpacked side by side: the
// image is what overlayfs makes of it, and only its lowest layer can be lazy.
func TestDeclaredRebaseEqualsOverlayfs(t *testing.T) {
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		l := newLabOn(t, declaring(c, `"rebase"`), stack.Ladle("ladle", ""))
		want, began := l.overlayfs("hostile-whiteouts")
		want = withoutOwn(want)
		for format, lazy := range map[image.Format]int{image.EStargz: 1, image.Gzip: 1} {
			ref := l.Push("hostile-whiteouts", format)
			l.Pull("ladle", ref)
			l.same(began, want, withoutOwn(l.list("ladle", ref)))
			if n := l.remote("ladle"); n != lazy {
				t.Errorf("%d layers of %s are lazy; want %d", n, format, lazy)
			}
			l.Ctr("images", "rm", "--sync", ref)
		}
		log := l.Node.Logs()
		says(t, errors.New(strings.ReplaceAll(log, `\"`, `"`)), "rebase")
	})
}

// Without the capability remap-ids, containerd maps the owners of files by itself: in a copy.
func TestContainerdMapsItself(t *testing.T) {
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		l := newLabOn(t, declaring(c, ""), stack.Ladle("ladle", ""))
		ref := l.Push("busybox", image.EStargz)
		l.Pull("ladle", ref)
		id := l.inPod("ladle", ref, 100000)
		if out := l.shell(id, "stat -c %u:%g / /bin/busybox && cat /proc/self/uid_map && echo > /new"); strings.Join(strings.Fields(out), " ") != "0:0 0:0 0 100000 65536" {
			t.Errorf("the container prints %q", out)
		}
		if out := l.Run("ladle", ref, "stat", "-c", "%u", "/bin/busybox"); out != "0\n" {
			t.Errorf("without a mapping the owner is %q", out)
		}
	})
}
