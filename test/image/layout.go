package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// blob is one layer as it lies in a layout.
type blob struct {
	path        string
	digest      v1.Hash
	diffID      v1.Hash
	size        int64
	mediaType   types.MediaType
	annotations map[string]string
}

// blob is a v1.Layer.
func (b blob) Digest() (v1.Hash, error)            { return b.digest, nil }
func (b blob) DiffID() (v1.Hash, error)            { return b.diffID, nil }
func (b blob) Size() (int64, error)                { return b.size, nil }
func (b blob) MediaType() (types.MediaType, error) { return b.mediaType, nil }
func (b blob) Compressed() (io.ReadCloser, error)  { return os.Open(b.path) }
func (b blob) Uncompressed() (io.ReadCloser, error) {
	return nil, fmt.Errorf("image: %s: not kept uncompressed", b.digest)
}

func newLayout(dir string) (layout.Path, error) {
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return "", fmt.Errorf("image: %w", err)
	}
	return l, nil
}

// blobWriter writes a file of a layout that is named by its digest in the end.
type blobWriter struct {
	file *os.File
	sum  hash.Hash
	n    int64
}

func newBlobWriter(l layout.Path) (*blobWriter, error) {
	f, err := os.CreateTemp(filepath.Join(string(l), "blobs", "sha256"), "partial-")
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return &blobWriter{file: f, sum: sha256.New()}, nil
}

func (w *blobWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.sum.Write(p[:n])
	w.n += int64(n)
	return n, err
}

// commit names the file. After an error of the writing, call discard instead.
func (w *blobWriter) commit() (blob, error) {
	b := blob{digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(w.sum.Sum(nil))}, size: w.n}
	b.path = filepath.Join(filepath.Dir(w.file.Name()), b.digest.Hex)
	if err := w.file.Chmod(0o644); err != nil {
		return blob{}, fmt.Errorf("image: %w", err)
	}
	if err := w.file.Close(); err != nil {
		return blob{}, fmt.Errorf("image: %w", err)
	}
	if err := os.Rename(w.file.Name(), b.path); err != nil {
		return blob{}, fmt.Errorf("image: %w", err)
	}
	return b, nil
}

func (w *blobWriter) discard() {
	w.file.Close()
	os.Remove(w.file.Name())
}

// writeGzip stores a layer as an ordinary gzip layer.
func writeGzip(ctx context.Context, l layout.Path, layer Layer) (blob, error) {
	return writeLayer(l, Gzip, func(w io.Writer) error {
		tw := tar.NewWriter(io.MultiWriter(w, contextWriter{ctx}))
		if err := layer(tw); err != nil {
			return err
		}
		return tw.Close()
	})
}

// contextWriter ends a long write soon after the context is done.
type contextWriter struct{ ctx context.Context }

func (w contextWriter) Write(p []byte) (int, error) { return len(p), w.ctx.Err() }

// appendImage adds an image of these layers to a layout. The annotations are
// those of its descriptor in the layout's index.
func appendImage(l layout.Path, config v1.Config, blobs []blob, annotations map[string]string) (v1.Image, error) {
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	var add []mutate.Addendum
	for _, b := range blobs {
		add = append(add, mutate.Addendum{Layer: b, MediaType: b.mediaType, Annotations: b.annotations,
			History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "ladle/test/image"}})
	}
	img, err := mutate.Append(img, add...)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config, file.Created = hostArchitecture, "linux", config, v1.Time{Time: epoch}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if err := l.AppendImage(img, layout.WithAnnotations(annotations)); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return img, nil
}

// tocAnnotation marks, in a layout's index, the image that holds the TOCs.
const tocAnnotation = "dev.ladle.test.toc"

// open reads the image, and that of its TOCs, from a layout.
func open(name string, format Format, l layout.Path) (*Image, error) {
	index, err := l.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("image: %s: %w", l, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("image: %s: %w", l, err)
	}
	result := &Image{Name: name, Format: format, dir: l}
	for _, d := range manifest.Manifests {
		img, err := l.Image(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("image: %s: %w", l, err)
		}
		if d.Annotations[tocAnnotation] != "" {
			result.TOC = img
		} else {
			result.Image = img
		}
	}
	if result.Image == nil {
		return nil, fmt.Errorf("image: %s holds no image", l)
	}
	return result, nil
}
