package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// renew replaces the daemon by another process. Layers that an import has left open are closed.
func (l lab) renew(daemon string) {
	l.Helper()
	d := l.Node.Daemon(daemon)
	if err := d.Stop(); err != nil {
		l.Fatal(err)
	}
	l.start(d)
}

// removeWhole removes an image, and waits until the daemon "ladle" has removed all layers and was
// started again.
func (l lab) removeWhole(ref string) {
	l.Helper()
	l.renew("ladle")
	l.Ctr("images", "rm", "--sync", ref)
	root := l.Node.Daemon("ladle").Root
	wait(l, "all layers are gone", func() bool { return len(subdirs(l, root, "store", "layers")) == 0 })
	l.renew("ladle")
}

// blobsOf returns the digests of an image's layers, the lowest first.
func (l lab) blobsOf(img *image.Image) (blobs []v1.Hash) {
	l.Helper()
	layers, err := img.Layers()
	if err != nil {
		l.Fatal(err)
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			l.Fatal(err)
		}
		blobs = append(blobs, digest)
	}
	return blobs
}

// bytesOf returns how many bytes of a blob came over the link.
func (l lab) bytesOf(blob v1.Hash) (n int64) {
	for _, r := range l.Link.Requests() {
		if strings.Contains(r.Path, blob.String()) {
			n += r.Bytes
		}
	}
	return n
}

// pullAgain removes plainMix, and pulls it again: nothing of its layers is fetched for that, and
// then what is read.
func (l lab) pullAgain(img *image.Image, ref string) {
	l.Helper()
	l.removeWhole(ref)
	l.Link.Reset()
	l.Pull("ladle", ref)
	blobs := l.blobsOf(img)
	if n := l.remote("ladle"); n != len(blobs) {
		l.Errorf("%d snapshots of %d layers are remote", n, len(blobs))
	}
	for n, blob := range blobs {
		if got := l.bytesOf(blob); got > 0 {
			l.Errorf("%d bytes of layer %d were fetched for the second pull", got, n)
		}
	}
	lowest, err := layerOf(img, 0)
	if err != nil {
		l.Fatal(err)
	}
	size, err := lowest.Layer.Size()
	if err != nil {
		l.Fatal(err)
	}
	l.Run("ladle", ref, "cat", readFile)
	if n := l.bytesOf(blobs[0]); n == 0 || n > size/3 {
		l.Errorf("%d of %d bytes of the lowest layer were fetched for a file", n, size)
	}
}

// TestImportWithDamagedIndex: a layer of which the kept index is damaged is imported, and the log
// says so once.
func TestImportWithDamagedIndex(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", ""))
	ref := l.Push("busybox", image.Gzip)
	l.Pull("ladle", ref)
	l.removeWhole(ref)
	dir := filepath.Join(l.Node.Daemon("ladle").Root, "store", "indexes")
	blobs := l.blobsOf(l.image("busybox", image.Gzip))
	for _, blob := range blobs {
		path := filepath.Join(dir, "sha256-"+blob.Hex)
		index, err := os.ReadFile(path)
		if err == nil {
			index[len(index)/2] ^= 1
			err = os.WriteFile(path, index, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.Pull("ladle", ref)
	if n := strings.Count(l.daemonLog(), "the kept index of a layer is damaged"); n != len(blobs) {
		t.Errorf("the log says %d times that an index is damaged, of %d layers:\n%s", n, len(blobs), l.daemonLog())
	}
	for _, blob := range blobs {
		if _, err := os.Stat(filepath.Join(dir, "sha256-"+blob.Hex)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the index is still there: %v", err)
		}
	}
	want, began := l.overlayfs("busybox")
	l.same(began, want, l.list("ladle", ref))
}
