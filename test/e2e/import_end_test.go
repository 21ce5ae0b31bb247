package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/stack"
)

// drafts are the layers that a daemon is making.
func (l lab) drafts(daemon string) []string {
	l.Helper()
	return subdirs(l, l.Node.Daemon(daemon).Root, "store", "tmp")
}

// slowly pulls an image over a slow link, and returns when the daemon imports it.
func (l lab) slowly(daemon, ref string) (cancel func(), ended <-chan error) {
	l.Helper()
	l.Link.SetProfile(link.Profile{RTT: 10 * time.Millisecond, Bandwidth: 20e6})
	ctx, cancel := context.WithCancel(l.Context())
	l.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- l.Node.Pull(ctx, daemon, ref) }()
	wait(l, "an import", func() bool {
		for _, draft := range l.drafts(daemon) {
			data, err := os.Stat(filepath.Join(l.Node.Daemon(daemon).Root, "store", "tmp", draft, "data"))
			if err == nil && data.Size() > 1<<20 {
				return true
			}
		}
		return false
	})
	return cancel, done
}

// TestImportIsCancelled: a pull that is cancelled leaves what it has fetched, and nothing else.
// The next one fetches what is missing.
func TestImportIsCancelled(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", ""))
	ref := l.Push("debian-python", image.Gzip)
	cancel, ended := l.slowly("ladle", ref)
	cancel()
	if err := <-ended; err == nil {
		t.Error("the pull ended without an error")
	}
	wait(t, "the imports to end", func() bool { return len(l.drafts("ladle")) == 0 })
	if left := subdirs(t, l.Node.Daemon("ladle").Root, "store", "layers"); len(left) > 0 {
		t.Errorf("layers %q are stored", left)
	}
	kept := l.partial("ladle")
	if kept == 0 {
		t.Error("nothing is kept of what was fetched")
	}
	l.Link.SetProfile(link.Profile{})
	l.Link.Reset()
	l.Pull("ladle", ref)
	if got, size := l.Link.Counters().BytesDown, l.sizeOf("debian-python"); got > size-kept+1<<20 {
		t.Errorf("%d bytes came of an image of %d, of which %d were there", got, size, kept)
	}
	if left := l.partial("ladle"); left > 0 {
		t.Errorf("%d bytes are kept of layers that are stored", left)
	}
}

// partial is the bytes that a daemon keeps of imports that were interrupted.
func (l lab) partial(daemon string) (bytes int64) {
	l.Helper()
	dir := filepath.Join(l.Node.Daemon(daemon).Root, "store", "partial")
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "boot" {
			continue
		}
		info, err := e.Info()
		if err != nil {
			l.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

// sizeOf is the bytes of a recipe's plain layers.
func (l lab) sizeOf(recipe string) (bytes int64) {
	l.Helper()
	layers, err := l.image(recipe, image.Gzip).Layers()
	if err != nil {
		l.Fatal(err)
	}
	for _, layer := range layers {
		n, err := layer.Size()
		if err != nil {
			l.Fatal(err)
		}
		bytes += n
	}
	return bytes
}

// TestImportOfRegistryThatEnds: the registry goes in the middle of an import. The pull is
// the ordinary one then, which fails as well, and the log has the reason.
func TestImportOfRegistryThatEnds(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", "[blob]\nmax_retries = 1\nmax_wait_msec = 30\n"))
	ref := l.Push("debian-python", image.Gzip)
	_, ended := l.slowly("ladle", ref)
	if err := l.Link.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the pull ended without an error")
	}
	if !strings.Contains(l.daemonLog(), "layer is left to the ordinary pull") {
		t.Errorf("the log has no reason:\n%s", l.daemonLog())
	}
	wait(t, "the imports to end", func() bool { return len(l.drafts("ladle")) == 0 })
}

// TestImportOfTwoClients: an image is pulled in two namespaces at once. Its layers are fetched once.
func TestImportOfTwoClients(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", ""))
	ref := l.Push("debian-python", image.Gzip)
	_, ended := l.slowly("ladle", ref)
	second := make(chan error, 1)
	go func() {
		_, err := l.Node.Ctr(l.Context(), "--namespace", "other", "images", "pull", "--snapshotter", "ladle", "--hosts-dir", l.Node.Hosts, "--plain-http", ref)
		second <- err
	}()
	l.Link.SetProfile(link.Profile{})
	for _, done := range []<-chan error{ended, second} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	size := l.sizeOf("debian-python")
	if got := l.Link.Counters().BytesDown; got > size*11/10+1<<20 {
		t.Errorf("%d bytes came of an image of %d", got, size)
	}
}

// TestImportIsProved: an image that claims another's diffIDs is refused, and does not
// decide what the other one shows.
func TestImportIsProved(t *testing.T) {
	l := newLab(t, oneOfEach("")...)
	like := l.image("busybox", image.Gzip)
	lowest, err := layerOf(like, 0)
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := l.tarOf("/which", "right\n"), l.tarOf("/which", "wrong\n")
	push := func(name string, top *packed) string {
		img, err := assemble(like, lowest, mutate.Addendum{Layer: top, MediaType: top.mediaType})
		if err != nil {
			t.Fatal(err)
		}
		return l.push(&image.Image{Name: name, Format: image.Gzip, Image: img})
	}
	top, err := packings[0](right)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := packings[0](wrong)
	if err != nil {
		t.Fatal(err)
	}
	forged.tarball = right // its config says so
	honest, liar := push("honest", top), push("liar", forged)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l, name := l.as(t), "ladle-"+driver
			if err := l.Node.Pull(t.Context(), name, liar); err == nil {
				t.Error("the image is taken that claims another's diffID")
			}
			l.Pull(name, honest)
			if got := l.Run(name, honest, "cat", "/which"); got != "right\n" {
				t.Errorf("the other image has %q", got)
			}
			if n := l.remote(name); n != 2 {
				t.Errorf("%d layers of it are imported", n)
			}
		})
	}
}
