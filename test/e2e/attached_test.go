package e2e

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/stack"
)

const trusting = "[index]\ntrust = \"attached\"\n"

// A node that has nothing reads a plain image lazily, with the index that ladle index has
// attached to it.
func TestAttachedIndex(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", onlyDemand+trusting))
	img := l.image("debian-python", image.Gzip)
	ref := l.push(img)
	l.index(img)
	size := l.size(img)
	l.Link.Reset()
	l.Pull("ladle", ref)
	if down := l.Link.Counters().BytesDown; down > size/10 {
		t.Errorf("the pull of %d bytes fetched %d", size, down)
	}
	l.runsLazily("ladle", ref, img)
	if down := l.Link.Counters().BytesDown; down > size/2 {
		t.Errorf("the pull of %d bytes and a start fetched %d", size, down)
	}
	got := l.list("ladle", ref)
	want, began := l.overlayfs("debian-python")
	l.same(began, want, got)
}

// A daemon that trusts only bound indexes imports the image, and its log says why.
func TestAttachedIndexThatIsNotTrusted(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", ""))
	img := l.image("busybox", image.Gzip)
	ref := l.push(img)
	l.index(img)
	l.Link.Reset()
	l.Pull("ladle", ref)
	if size, down := l.size(img), l.Link.Counters().BytesDown; down < size {
		t.Errorf("the pull of %d bytes fetched %d", size, down)
	}
	wait(l, "a line in the log", func() bool {
		return strings.Contains(l.logOf("ladle"), "an index is attached to the image, and not used")
	})
}

// An index with the digest of another chunk shows no wrong byte, and its layer is out of
// service when all of it was compared.
func TestLyingIndex(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", "read_timeout_sec = 5\nnoprefetch = true\n"+trusting))
	img := l.withFile("busybox", "data/file")
	ref := l.push(img)
	l.index(img)
	path := l.forge(img)
	l.Pull("ladle", ref)
	id := l.detached("ladle", ref)
	if out, err := l.Node.Exec(l.Context(), id, "cat", path); err == nil || !strings.Contains(err.Error(), "Input/output error") {
		t.Errorf("%s has %d bytes, and reading it ended with %v", path, len(out), err)
	}
	wait(l, "the layer to be out of service", func() bool {
		return strings.Contains(l.logOf("ladle"), "layer is taken out of service")
	})
	out, err := l.Node.Run(l.Context(), stack.Container{Snapshotter: "ladle", Ref: ref, Args: []string{"cat", path}})
	if err == nil {
		t.Errorf("a container starts, and prints %d bytes", len(out))
	}
}

// withFile is a recipe's image with one more layer, of a file of 100 kB.
func (l lab) withFile(recipe, name string) *image.Image {
	l.Helper()
	like := l.image(recipe, image.Gzip)
	below, err := like.Layers()
	l.must(err)
	content := make([]byte, 100_000)
	_, err = rand.NewChaCha8([32]byte{1}).Read(content)
	l.must(err)
	top, err := gzipped(l.tarOf(name, string(content)), 1<<30, types.OCILayer)
	l.must(err)
	var layers []mutate.Addendum
	for _, layer := range below {
		layers = append(layers, mutate.Addendum{Layer: layer})
	}
	img, err := assemble(like, append(layers, mutate.Addendum{Layer: top, MediaType: types.OCILayer})...)
	l.must(err)
	return &image.Image{Name: "with-file", Format: image.Gzip, Image: img}
}

// size returns the bytes of an image's layers.
func (l lab) size(img *image.Image) (size int64) {
	l.Helper()
	layers, err := img.Layers()
	if err != nil {
		l.Fatal(err)
	}
	for _, layer := range layers {
		n, err := layer.Size()
		if err != nil {
			l.Fatal(err)
		}
		size += n
	}
	return size
}

func (l lab) logOf(daemon string) string {
	l.Helper()
	text, err := os.ReadFile(l.Node.Daemon(daemon).LogFile)
	if err != nil {
		l.Fatal(err)
	}
	return string(text)
}

// index attaches the indexes of an image that was pushed.
func (l lab) index(img *image.Image) {
	l.Helper()
	binary, err := place.Ladle()
	if err != nil {
		l.Fatal(err)
	}
	out, err := exec.CommandContext(l.Context(), binary, "index", "--quiet", l.Registry.Addr+"/"+img.Tag()).CombinedOutput()
	if err != nil {
		l.Fatalf("ladle index: %v\n%s", err, out)
	}
}
