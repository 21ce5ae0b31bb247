package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ladle-dev/ladle/test/place"
)

// newOldest is newLab with workers of BuildKit's oldest release that is tested on
// ladle (package oldest), which is built if it is not there. The client of the
// builds is of the newest.
func newOldest(t *testing.T, o labOptions) lab {
	t.Helper()
	root, err := place.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, "script", "buildkit.sh"), "oldest")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	program, err := place.Component("buildkitd-oldest")
	if err != nil {
		t.Fatal(err)
	}
	kinds := o.kinds
	o.kinds = nil
	l := newLab(t, o)
	for _, kind := range kinds {
		w := l.options(kind)
		w.Command = []string{program}
		l.startWorker(kind, w)
	}
	return l
}

// What the oldest BuildKit builds on ladle is what it builds on overlayfs, layer
// for layer: steps, copies from lazy images and between stages, linked copies
// and steps on them, and the export of all that.
func TestOldestSameLayersAsOverlayfs(t *testing.T) {
	same := func(dockerfile string) string { return dockerfile }
	newOldest(t, labOptions{kinds: []string{onOverlayfs, onOCI}}).sameLayers(t, []string{onOCI}, same)
}

// Its builds are as lazy as those of the newest.
func TestOldestFetchesWhatIsRead(t *testing.T) {
	newOldest(t, labOptions{kinds: []string{onOCI}, profile: home}).fetchesWhatIsRead(t, []string{onOCI})
}
