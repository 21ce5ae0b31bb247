package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/sametree"
	"github.com/ladle-dev/ladle/test/stack"
)

// Where nothing is imported, plain gzip layers between lazy ones, and on top of them, are
// unpacked as on overlayfs, and what is above a plain layer is still lazy. So it is in a user
// namespace.
func TestMixedImageEqualsOverlayfs(t *testing.T) {
	var want sametree.Listing
	var wantOwners string
	began := time.Now()
	onDrivers(t, func(t *testing.T, c stack.Containerd, driver string) {
		l := newLabOn(t, c, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n[import]\nenable = false\n", driver)))
		ref := l.push(l.mixed("debian-python"))
		if want == nil {
			l.Pull("overlayfs", ref)
			want = l.list("overlayfs", ref)
			wantOwners = l.shell(l.inPod("overlayfs", ref, 100000), owners)
		}
		l.Pull("ladle", ref)
		l.sameLines("in a user namespace", wantOwners, l.shell(l.inPod("ladle", ref, 100000), owners))
		got := l.list("ladle", ref)
		l.same(began, withoutOwn(want), withoutOwn(got))
		if lazy := l.remote("ladle"); lazy != 2 {
			t.Errorf("%d snapshots are remote; want that of the lowest layer and of the third", lazy)
		}
	})
}

// A layer that cannot be shown lazily is pulled whole, and is then what
// overlayfs makes of it.
func TestLayerThatIsNotLazyIsPulledWhole(t *testing.T) {
	l := newLab(t, oneOfEach("")...)
	ref := l.Push("hostile-through-link", image.EStargz)
	began := time.Now()
	l.Pull("overlayfs", ref)
	want := l.list("overlayfs", ref)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			l := l.as(t)
			l.Pull("ladle-"+driver, ref)
			l.same(began, withoutOwn(want), withoutOwn(l.list("ladle-"+driver, ref)))
			if lazy := l.remote("ladle-" + driver); lazy != 1 {
				t.Errorf("%d snapshots are remote; want that of the lowest layer", lazy)
			}
		})
	}
	for _, name := range []string{"/tmp/ladle-escaped", "/tmp/ladle-escaped-relative"} {
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s was written on the host", name)
		}
	}
}

// mixed is a recipe's image of three layers with the second one in its
// ordinary form, and another ordinary one on top.
func (l lab) mixed(recipe string) *image.Image {
	l.Helper()
	img, err := mix(l.image(recipe, image.EStargz), l.image(recipe, image.Gzip))
	if err != nil {
		l.Fatal(err)
	}
	return &image.Image{Name: "mixed", Format: image.EStargz, Image: img}
}

func (l lab) image(recipe string, format image.Format) *image.Image {
	l.Helper()
	img, err := l.Cache.Image(l.Context(), recipe, format)
	if err != nil {
		l.Fatal(err)
	}
	return img
}

func mix(lazy, plain *image.Image) (v1.Image, error) {
	lowest, err := layerOf(lazy, 0)
	if err != nil {
		return nil, err
	}
	second, err := layerOf(plain, 1)
	if err != nil {
		return nil, err
	}
	third, err := layerOf(lazy, 2)
	if err != nil {
		return nil, err
	}
	top, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(changes())), nil })
	if err != nil {
		return nil, err
	}
	return assemble(lazy, lowest, second, third, mutate.Addendum{Layer: top, MediaType: types.OCILayer})
}

// assemble makes an image of the given layers that is like another otherwise.
func assemble(like v1.Image, layers ...mutate.Addendum) (v1.Image, error) {
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err := mutate.Append(img, layers...)
	if err != nil {
		return nil, err
	}
	model, err := like.ConfigFile()
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = model.Architecture, model.OS, model.Config
	return mutate.ConfigFile(img, file)
}

// layerOf is the n-th layer of an image, with its annotations.
func layerOf(img v1.Image, n int) (mutate.Addendum, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return mutate.Addendum{}, err
	}
	layers, err := img.Layers()
	if err != nil || n >= len(layers) {
		return mutate.Addendum{}, fmt.Errorf("layer %d: %w", n, err)
	}
	d := manifest.Layers[n]
	return mutate.Addendum{Layer: layers[n], MediaType: d.MediaType, Annotations: d.Annotations}, nil
}

// changes is the tar of a layer over debian-python that changes what each of
// its layers brought.
func changes() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(typ byte, name, more string) {
		h := tar.Header{Typeflag: typ, Name: name, Mode: 0o755, ModTime: time.Unix(1_700_000_000, 0), Format: tar.FormatPAX}
		if typ == tar.TypeReg {
			h.Size = int64(len(more))
		} else {
			h.Linkname = more
		}
		w.WriteHeader(&h) // a bytes.Buffer takes everything
		if typ == tar.TypeReg {
			w.Write([]byte(more))
		}
	}
	add(tar.TypeDir, "opt/", "")
	add(tar.TypeDir, "opt/edits/", "")
	add(tar.TypeReg, "opt/edits/large", "small now\n")
	add(tar.TypeReg, "opt/edits/.wh.fifo", "")
	add(tar.TypeDir, "opt/edits/sub/", "")
	add(tar.TypeReg, "opt/edits/sub/.wh..wh..opq", "")
	add(tar.TypeReg, "opt/edits/sub/only", "only\n")
	add(tar.TypeDir, "etc/", "")
	add(tar.TypeReg, "etc/.wh.cron.daily", "")
	add(tar.TypeReg, "etc/debian_version", "changed\n")
	add(tar.TypeLink, "etc/version-too", "etc/debian_version")
	add(tar.TypeSymlink, "usr/share/doc/tar", "/etc")
	w.Close()
	return b.Bytes()
}

// withoutOwn leaves out the files that the builder of a lazy layer adds to its
// root: overlayfs shows them, and ladle only those of layers that it unpacks.
func withoutOwn(l sametree.Listing) sametree.Listing {
	for _, name := range []string{"/.prefetch.landmark", "/.no.prefetch.landmark", "/stargz.index.json"} {
		delete(l, name)
	}
	return l
}

// remote counts the committed snapshots of a snapshotter that are read lazily.
func (l lab) remote(snapshotter string) int {
	l.Helper()
	return len(slices.DeleteFunc(l.snapshots(snapshotter), func(s snapshots.Info) bool {
		return s.Kind != snapshots.KindCommitted || s.Labels["containerd.io/snapshot/remote"] == ""
	}))
}
