package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// declaring is c with capabilities declared for the daemon ladle, and with
// layers unpacked side by side where that is possible.
func declaring(c stack.Containerd, capabilities string) stack.Containerd {
	c.Edit = func(config string) string {
		const plugin, transfer = "[proxy_plugins.\"ladle\"]\n", "[[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]"
		config = strings.Replace(config, plugin, plugin+"  capabilities = ["+capabilities+"]\n", 1)
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

// runMapped runs a command in a user namespace, with an image whose files belong
// to the ids of the container. The network is its own: with the host's, /sys
// cannot be mounted.
func (l lab) runMapped(snapshotter, ref, command string) (string, error) {
	return l.Node.Ctr(l.Context(), "run", "--rm", "--snapshotter", snapshotter, "--remap-labels",
		"--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", ref, "mapped", "sh", "-c", command)
}

// A container in a user namespace sees files of its root if containerd maps them
// by itself, and is refused if that is left to ladle.
func TestDeclaredMappingIsRefused(t *testing.T) {
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		for name, capabilities := range map[string]string{"declared": `"remap-ids"`, "not declared": ""} {
			t.Run(name, func(t *testing.T) {
				l := newLabOn(t, declaring(c, capabilities), stack.Ladle("ladle", ""))
				ref := l.Push("busybox", image.EStargz)
				l.Pull("ladle", ref)
				out, err := l.runMapped("ladle", ref, "stat -c %u:%g / /bin/busybox && cat /proc/self/uid_map && echo > /new")
				if capabilities != "" {
					says(t, err, "remap-ids")
				} else if err != nil {
					t.Error(err)
				} else if want := "0:0 0:0 0 100000 65536"; strings.Join(strings.Fields(out), " ") != want {
					t.Errorf("the container prints %q, want %q", out, want)
				}
				if out := l.Run("ladle", ref, "stat", "-c", "%u", "/bin/busybox"); out != "0\n" {
					t.Errorf("without a mapping the owner is %q", out)
				}
			})
		}
	})
}
