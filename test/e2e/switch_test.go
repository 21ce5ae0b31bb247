package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// An image that was pulled for ladle has no blobs, and must be pulled again for
// overlayfs (docs/install.md). One that was pulled for overlayfs is lazy when it is
// pulled again, and runs on ladle without that, unpacked.
func TestImageIsPulledForTheOtherSnapshotter(t *testing.T) {
	onReleases(t, func(t *testing.T, c stack.Containerd) {
		l := newLabOn(t, c, stack.Ladle("ladle", ""))
		shell := stack.Container{Args: []string{"ls", "/bin"}}
		runs := func(snapshotter, ref string) (string, error) {
			shell.Snapshotter, shell.Ref = snapshotter, ref
			return l.Node.Run(t.Context(), shell)
		}

		lazy := l.Push("hostile-whiteouts", image.EStargz)
		l.Pull("ladle", lazy)
		want, err := runs("ladle", lazy)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := runs("overlayfs", lazy); err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("without blobs overlayfs says %v: docs/install.md says something else", err)
		}
		export := func() error {
			_, err := l.Node.Ctr(t.Context(), "images", "export", "/dev/null", lazy)
			return err
		}
		if err := export(); err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("without blobs an export says %v", err)
		}
		l.Pull("overlayfs", lazy)
		if err := export(); err != nil {
			t.Error(err)
		}
		if out, err := runs("overlayfs", lazy); err != nil || out != want {
			t.Errorf("pulled for overlayfs it prints %q, %v", out, err)
		}
		if _, err := runs("ladle", lazy); err != nil {
			t.Errorf("ladle has it no more: %v", err)
		}

		// The images have their lowest layer in common.
		third := l.Push("hostile-parents", image.EStargz)
		l.Pull("overlayfs", third)
		lazily := l.remote("ladle")
		l.Pull("ladle", third)
		if n := l.remote("ladle") - lazily; n != 2 {
			t.Errorf("pulled for ladle, too, %d layers more are lazy; want 2", n)
		}

		other := l.Push("hostile-names", image.EStargz)
		l.Pull("overlayfs", other)
		log := len(l.daemonLog())
		before := l.remote("ladle")
		if _, err := runs("ladle", other); err != nil {
			t.Fatal(err)
		}
		if n := l.remote("ladle"); n != before || !strings.Contains(l.daemonLog()[log:], "remove the image and pull it with this snapshotter") {
			t.Errorf("unpacked from blobs, %d layers more are lazy, and the log is\n%s", n-before, l.daemonLog()[log:])
		}
	})
}

// A node's CRI is given the other snapshotter. CRI says of all images that they are
// there; from ladle to overlayfs they are not, until they are pulled again, and from
// overlayfs to ladle they are read lazily at once if CRI says of which image a layer is.
func TestNodeChangesItsSnapshotter(t *testing.T) {
	l := newLabOn(t, stack.Containerd{}, stack.Ladle("ladle", ""))
	pause := l.Push("pause", image.Gzip)
	first, second := l.Push("hostile-names", image.EStargz), l.Push("hostile-parents", image.EStargz)
	starts := func(ref string) error {
		t.Helper()
		runtime, images := l.criClient()
		p := pod{runtime: runtime, images: images, logs: t.TempDir()}
		err := p.startPresent(t.Context(), ref)
		if p.id != "" {
			if err := p.remove(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
		return err
	}

	l.dropIn("", "", "")
	l.pullByCRI(first)
	if err := starts(first); err != nil {
		t.Fatal(err)
	}
	l.dropIn("", `  snapshotter = "ladle"`+"\n  # discard", "  # discard")
	l.waitForImage(first)
	for _, ref := range []string{pause, first} { // that of sandboxes was imported, and has no blobs either
		if err := starts(first); err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("from ladle to overlayfs, before %s is pulled: %v", ref, err)
		}
		l.pullByCRI(ref)
	}
	l.pullByCRI(second)
	if err := starts(first); err != nil {
		t.Errorf("from ladle to overlayfs: %v", err)
	}

	l.dropIn("", "# "+annotate, annotate)
	l.waitForImage(second)
	before := l.in("k8s.io").remote("ladle")
	if err := starts(second); err != nil {
		t.Errorf("from overlayfs to ladle: %v", err)
	}
	if n := l.in("k8s.io").remote("ladle") - before; n != 2 { // it shares the lowest of three
		t.Errorf("from overlayfs to ladle %d layers more are lazy; want 2", n)
	}
}
