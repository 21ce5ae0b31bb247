package layouttest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout is an OCI image layout in a directory.
type Layout struct {
	Dir string
	t   testing.TB
	idx ocispec.Index
}

// New returns an empty layout in dir.
func New(t testing.TB, dir string) *Layout {
	t.Helper()
	l := &Layout{Dir: dir, t: t}
	l.idx = ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.write(ocispec.ImageLayoutFile, l.encode(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}))
	return l
}

func (l *Layout) write(name string, b []byte) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.Dir, name), b, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *Layout) encode(v any) []byte {
	l.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

// Path returns the path of a blob.
func (l *Layout) Path(d digest.Digest) string {
	return filepath.Join(l.Dir, "blobs", d.Algorithm().String(), d.Encoded())
}

// Blob adds a blob.
func (l *Layout) Blob(mediaType string, b []byte) ocispec.Descriptor {
	l.t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	l.write(filepath.Join("blobs", "sha256", desc.Digest.Encoded()), b)
	return desc
}

// Document adds a manifest or an index.
func (l *Layout) Document(mediaType string, v any) ocispec.Descriptor {
	l.t.Helper()
	return l.Blob(mediaType, l.encode(v))
}

// Layer is a layer of an image.
type Layer struct {
	ocispec.Descriptor
	DiffID digest.Digest
}

// Image adds the image of a platform, which has no tag.
func (l *Layout) Image(p ocispec.Platform, layers ...Layer) ocispec.Descriptor {
	l.t.Helper()
	config := ocispec.Image{Platform: p, RootFS: ocispec.RootFS{Type: "layers"}}
	config.Config.Cmd = []string{"/bin/true"}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Layers: []ocispec.Descriptor{}, Annotations: map[string]string{"org.example.of": "manifest"},
	}
	for _, of := range layers {
		manifest.Layers = append(manifest.Layers, of.Descriptor)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, of.DiffID)
		config.History = append(config.History,
			ocispec.History{CreatedBy: "layer " + of.Digest.String()}, ocispec.History{CreatedBy: "nothing", EmptyLayer: true})
	}
	manifest.Config = l.Document(ocispec.MediaTypeImageConfig, config)
	desc := l.Document(ocispec.MediaTypeImageManifest, manifest)
	desc.Platform = &p
	return desc
}

// Tag gives a manifest or an index a name.
func (l *Layout) Tag(desc ocispec.Descriptor, tag string) {
	l.t.Helper()
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	l.idx.Manifests = append(l.idx.Manifests, desc)
	l.write(ocispec.ImageIndexFile, l.encode(l.idx))
}
