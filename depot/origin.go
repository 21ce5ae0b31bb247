package depot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/index"
)

// maxDocument bounds a manifest, an index and a configuration, in bytes. Registries must
// accept manifests of at least 4 MiB (OCI distribution specification, "Pushing
// Manifests").
const maxDocument = 8 << 20

// Blob is a blob of which ranges can be read. Nothing of it is verified.
type Blob interface {
	// Tail returns the last n bytes, or all of a shorter blob, and the blob's size
	// in bytes.
	Tail(ctx context.Context, n int64) (tail []byte, size int64, err error)

	// Range returns a reader of exactly the n bytes at off, which the caller closes.
	Range(ctx context.Context, off, n int64) (io.ReadCloser, error)
}

// Origin is what one image is read from. It may be used concurrently. The caller closes
// it.
type Origin interface {
	// Root returns what the reference names, a manifest or an index, verified.
	Root(ctx context.Context) (Document, error)

	// Manifest returns another manifest of the image, verified.
	Manifest(ctx context.Context, desc ocispec.Descriptor) (Document, error)

	// Blob returns a blob of the image.
	Blob(digest.Digest) Blob

	// TOCs returns the manifest of the image with the external TOCs of this one
	// (see index.ExternalTOC). Its blobs are those of the origin, too.
	TOCs(context.Context) ([]byte, error)

	Close() error
}

// Document is a manifest or an index.
type Document struct {
	ocispec.Descriptor
	Bytes []byte
}

// IsIndex reports whether the document is an index of manifests.
func (d Document) IsIndex() bool { return images.IsIndexType(d.MediaType) }

// newDocument returns the document b, which has the digest want unless that is empty.
func newDocument(b []byte, want digest.Digest) (Document, error) {
	algorithm := digest.Canonical
	if want != "" {
		if err := want.Validate(); err != nil {
			return Document{}, err
		}
		algorithm = want.Algorithm()
	}
	desc := ocispec.Descriptor{Digest: algorithm.FromBytes(b), Size: int64(len(b))}
	if want != "" && desc.Digest != want {
		return Document{}, fmt.Errorf("manifest has not digest %s", want)
	}
	var err error
	desc.MediaType, err = mediaType(b)
	return Document{desc, b}, err
}

// mediaType returns the media type of a manifest or index. OCI documents need not name
// theirs.
func mediaType(document []byte) (string, error) {
	var d struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
		FSLayers  json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	switch known := images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType); {
	case d.Manifests != nil && d.Layers != nil:
		return "", errors.New("manifest with layers and manifests") // CVE-2021-41190
	case images.IsIndexType(d.MediaType) == (d.Manifests != nil) && known:
		return d.MediaType, nil
	case d.MediaType == "" && d.Manifests != nil:
		return ocispec.MediaTypeImageIndex, nil
	case d.MediaType == "" && d.Layers != nil:
		return ocispec.MediaTypeImageManifest, nil
	case d.FSLayers != nil:
		return "", errors.New("manifest of schema 1, which registries and containerd no longer support")
	}
	return "", fmt.Errorf("media type %q is not that of an image", d.MediaType)
}

// Small returns the whole of a small blob, verified.
func Small(ctx context.Context, o Origin, desc ocispec.Descriptor) ([]byte, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, err
	}
	if desc.Size < 0 || desc.Size > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, of at most %d", desc.Digest, desc.Size, maxDocument)
	}
	r, err := o.Blob(desc.Digest).Range(ctx, 0, desc.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if desc.Digest.Algorithm().FromBytes(b) != desc.Digest {
		return nil, fmt.Errorf("content has not digest %s", desc.Digest)
	}
	return b, nil
}

// ExternalTOC opens the external TOC of the layer blob, and returns it with its size in
// bytes. The caller closes it.
func ExternalTOC(ctx context.Context, o Origin, blob digest.Digest) (toc io.ReadCloser, size int64, err error) {
	manifest, err := o.TOCs(ctx)
	if err != nil {
		return nil, 0, err
	}
	of, size, err := index.ExternalTOC(manifest, blob)
	if err != nil {
		return nil, 0, err
	}
	toc, err = o.Blob(of).Range(ctx, 0, size)
	return toc, size, err
}

// fileBlob is a blob in a file.
type fileBlob struct {
	*io.SectionReader
	err error // of opening it
}

// Tail implements Blob.
func (b fileBlob) Tail(_ context.Context, n int64) ([]byte, int64, error) {
	if b.err != nil {
		return nil, 0, b.err
	}
	tail := make([]byte, min(n, b.Size()))
	if _, err := b.ReadAt(tail, b.Size()-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	return tail, b.Size(), nil
}

// Range implements Blob.
func (b fileBlob) Range(_ context.Context, off, n int64) (io.ReadCloser, error) {
	if b.err != nil {
		return nil, b.err
	}
	if off < 0 || n < 0 || off > b.Size()-n {
		return nil, fmt.Errorf("bytes [%d,%d) of a blob of %d", off, off+n, b.Size())
	}
	return io.NopCloser(io.NewSectionReader(b, off, n)), nil
}
