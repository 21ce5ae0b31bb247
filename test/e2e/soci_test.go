package e2e

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
)

// A node that has nothing reads a plain image lazily with the SOCI index that its manifest names,
// as the daemon is configured by default, and shows the tree of overlayfs. Layers that are not in
// the index are imported.
func TestSOCIIndex(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", onlyDemand))
	img := l.image("debian-python", image.Gzip)
	to := img.Name + ":soci"
	l.must(img.PushSOCI(l.Context(), l.Registry.Addr+"/"+to, image.SOCI{Builder: image.ZtocOfTests, Least: 1 << 20}))
	ref := l.Link.Addr() + "/" + to
	size := l.size(img)
	l.Link.Reset()
	l.Pull("ladle", ref)
	if down := l.Link.Counters().BytesDown; down > size/4 {
		t.Errorf("the pull of %d bytes fetched %d", size, down)
	}
	l.runsLazily("ladle", ref, img)
	if down := l.Link.Counters().BytesDown; down > size*3/4 {
		t.Errorf("the pull of %d bytes and a start fetched %d", size, down)
	}
	binary, err := place.Ladle()
	l.must(err)
	out, err := exec.CommandContext(l.Context(), binary, "inspect", "--json", l.Registry.Addr+"/"+to).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"source": "bound"`)) {
		t.Errorf("ladle inspect: %v\n%s", err, out)
	}
	got := l.list("ladle", ref)
	want, began := l.overlayfs("debian-python")
	l.same(began, want, got)
}
