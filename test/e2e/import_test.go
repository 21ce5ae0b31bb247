package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/sametree"
	"github.com/ladle-dev/ladle/test/stack"
)

// Layers without an index are imported whatever they are compressed with, containerd
// fetches none of them, and their tree is that of overlayfs; also when the image was removed and
// is pulled again, when they are read lazily.
func TestImportedImageEqualsOverlayfs(t *testing.T) {
	var img *image.Image
	var want sametree.Listing
	began := time.Now()
	onDrivers(t, func(t *testing.T, c stack.Containerd, driver string) {
		l := newLabOn(t, c, stack.Ladle("ladle", fmt.Sprintf("driver = %q\n%s", driver, onlyDemand)))
		if img == nil {
			img = l.plainMix("debian-python")
		}
		ref := l.push(img)
		l.Pull("ladle", ref)
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		if n := l.remote("ladle"); n != len(layers) {
			t.Errorf("%d snapshots of %d layers are remote", n, len(layers))
		}
		if fetched := l.fetched(img); len(fetched) > 0 {
			t.Errorf("containerd fetched the layers %q", fetched)
		}
		got := l.list("ladle", ref)
		if want == nil {
			l.Pull("overlayfs", ref)
			want = l.list("overlayfs", ref)
		}
		l.same(began, want, got)
		l.pullAgain(img, ref)
		l.same(began, want, l.list("ladle", ref))
	})
}

// TestImportOff: without imports such layers are pulled as for overlayfs.
func TestImportOff(t *testing.T) {
	l := newLab(t, stack.Ladle("ladle", "[import]\nenable = false\n"))
	want, began := l.overlayfs("busybox")
	ref := l.Push("busybox", image.Gzip)
	l.Pull("ladle", ref)
	if n := l.remote("ladle"); n != 0 {
		t.Errorf("%d snapshots are remote", n)
	}
	l.same(began, want, l.list("ladle", ref))
}

// packed is a layer as it is compressed.
type packed struct {
	tarball, data []byte
	mediaType     types.MediaType
}

func (p *packed) Digest() (v1.Hash, error)            { return hashOf(p.data) }
func (p *packed) DiffID() (v1.Hash, error)            { return hashOf(p.tarball) }
func (p *packed) Size() (int64, error)                { return int64(len(p.data)), nil }
func (p *packed) MediaType() (types.MediaType, error) { return p.mediaType, nil }
func (p *packed) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(p.data)), nil
}
func (p *packed) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(p.tarball)), nil
}

func hashOf(b []byte) (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(b))
	return h, err
}

// packings are the forms of layers without an index.
var packings = []func(tarball []byte) (*packed, error){
	func(b []byte) (*packed, error) { return gzipped(b, len(b), types.DockerLayer) },
	func(b []byte) (*packed, error) { return gzipped(b, 1<<20, types.OCILayer) }, // of several members
	func(b []byte) (*packed, error) {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			return nil, err
		}
		var frames []byte
		for rest := b; len(rest) > 0; rest = rest[min(1<<20, len(rest)):] {
			frames = w.EncodeAll(rest[:min(1<<20, len(rest))], frames)
		}
		return &packed{b, frames, types.OCILayerZStd}, nil
	},
	func(b []byte) (*packed, error) { return &packed{b, b, types.OCIUncompressedLayer}, nil },
}

// unnamedTOC makes an eStargz layer of a tar. Its manifest will have no digest of its TOC.
func unnamedTOC(tarball []byte) (*packed, error) {
	made, err := estargz.Build(io.NewSectionReader(bytes.NewReader(tarball), 0, int64(len(tarball))))
	if err != nil {
		return nil, err
	}
	defer made.Close()
	data, err := io.ReadAll(made)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	tarball, err = io.ReadAll(z)
	return &packed{tarball, data, types.OCILayer}, err
}

func gzipped(tarball []byte, member int, mediaType types.MediaType) (*packed, error) {
	var b bytes.Buffer
	for rest := tarball; len(rest) > 0; {
		w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			return nil, err
		}
		n := min(member, len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return &packed{tarball, b.Bytes(), mediaType}, nil
}

// plainMix is a recipe's image with more layers on top, each packed in another way: one
// that changes what is below, one with a sparse file, and one that is eStargz, which the
// image does not say.
func (l lab) plainMix(recipe string) *image.Image {
	l.Helper()
	like := l.image(recipe, image.Gzip)
	below, err := like.Layers()
	if err != nil {
		l.Fatal(err)
	}
	var tarballs [][]byte
	for _, layer := range below {
		r, err := layer.Uncompressed()
		if err != nil {
			l.Fatal(err)
		}
		tarball, err := io.ReadAll(r)
		if err != nil {
			l.Fatal(err)
		}
		tarballs = append(tarballs, tarball)
	}
	tarballs = append(tarballs, changes(), l.sparse())
	unnamed, err := unnamedTOC(l.tarOf("unnamed", "a file of a layer without a digest of its TOC\n"))
	if err != nil {
		l.Fatal(err)
	}
	var layers []mutate.Addendum
	for n, tarball := range tarballs {
		p, err := packings[n%len(packings)](tarball)
		if err != nil {
			l.Fatal(err)
		}
		layers = append(layers, mutate.Addendum{Layer: p, MediaType: p.mediaType})
	}
	layers = append(layers, mutate.Addendum{Layer: unnamed, MediaType: unnamed.mediaType})
	img, err := assemble(like, layers...)
	if err != nil {
		l.Fatal(err)
	}
	return &image.Image{Name: "plain-mix", Format: image.Gzip, Image: img}
}

// sparse is a tar that GNU tar made of a file with holes.
func (l lab) sparse() []byte {
	l.Helper()
	dir := l.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		l.Fatal(err)
	}
	for _, off := range []int64{0, 70_000, 3 << 20} {
		if _, err := f.WriteAt([]byte("data\n"), off); err != nil {
			l.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(5<<20), f.Close()); err != nil {
		l.Fatal(err)
	}
	tarball, err := exec.CommandContext(l.Context(), "tar", "-c", "--sparse", "--format=pax", "-C", dir, "sparse").Output()
	if err != nil {
		l.Fatal(err)
	}
	return tarball
}

// tarOf is a tar of one file.
func (l lab) tarOf(name, content string) []byte {
	l.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644, ModTime: time.Unix(1e9, 0)})
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		l.Fatal(err)
	}
	return b.Bytes()
}
