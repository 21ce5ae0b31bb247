package depot

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is the image of one platform.
type Image struct {
	// Document is the manifest. In an index its descriptor has the annotations that
	// the index gives it.
	Document

	// Manifest is the manifest, decoded.
	Manifest ocispec.Manifest

	// Config is the configuration as it is stored, Platform and DiffIDs are what it
	// says.
	Config   []byte
	Platform ocispec.Platform
	DiffIDs  []string
}

// Images are what a reference names.
type Images struct {
	Root  Document
	Index *ocispec.Index // nil if the root is the manifest of an image
	All   []Image        // in the order of the index

	// Attestations counts the manifests of the index that are about other ones, as
	// BuildKit writes them. They are not in All.
	Attestations int
}

// attestation is the annotation by which an index marks a manifest that is about another
// one (BuildKit, docs/attestations/attestation-storage.md).
const attestation = "vnd.docker.reference.type"

// isArtifact reports whether an index says of a manifest that it is no image: as SOCI's, which has
// the platform of the image that it is about (OCI image specification, descriptor.md, "artifactType").
func isArtifact(desc ocispec.Descriptor) bool {
	return desc.ArtifactType != "" && !images.IsConfigType(desc.ArtifactType)
}

// maxImages bounds the manifests of an index.
const maxImages = 1 << 10

// ReadImages reads manifests and configurations of the images of an origin that match; all
// if match is nil.
func ReadImages(ctx context.Context, o Origin, match platforms.Matcher) (Images, error) {
	root, err := o.Root(ctx)
	if err != nil {
		return Images{}, err
	}
	found := Images{Root: root}
	if !root.IsIndex() {
		img, err := readImage(ctx, o, root)
		if err == nil && match != nil && !match.Match(img.Platform) {
			err = fmt.Errorf("the image is for %s only", platforms.Format(img.Platform))
		}
		found.All = []Image{img}
		return found, err
	}
	found.Index = new(ocispec.Index)
	if err := json.Unmarshal(root.Bytes, found.Index); err != nil {
		return Images{}, fmt.Errorf("index: %w", err)
	}
	if len(found.Index.Manifests) > maxImages {
		return Images{}, fmt.Errorf("index of %d manifests, of at most %d", len(found.Index.Manifests), maxImages)
	}
	var has []string
	for _, desc := range found.Index.Manifests {
		if desc.Annotations[attestation] != "" {
			found.Attestations++
			continue
		}
		if isArtifact(desc) {
			continue
		}
		if desc.Platform != nil {
			has = append(has, platforms.Format(*desc.Platform))
		}
		if match != nil && desc.Platform != nil && !match.Match(*desc.Platform) {
			continue
		}
		img, err := readChild(ctx, o, desc)
		if err != nil {
			return Images{}, err
		}
		if match == nil || match.Match(img.Platform) {
			found.All = append(found.All, img)
		}
	}
	if len(found.All) == 0 {
		return Images{}, fmt.Errorf("no image for the platform: there are %q", has)
	}
	return found, nil
}

// readChild reads an image of an index.
func readChild(ctx context.Context, o Origin, desc ocispec.Descriptor) (Image, error) {
	d, err := o.Manifest(ctx, desc)
	if err != nil {
		return Image{}, err
	}
	if d.IsIndex() {
		return Image{}, fmt.Errorf("%s: index within an index", desc.Digest)
	}
	img, err := readImage(ctx, o, d)
	if err != nil {
		return Image{}, err
	}
	img.Annotations = desc.Annotations
	if desc.Platform != nil {
		img.Platform = *desc.Platform
	}
	return img, nil
}

func readImage(ctx context.Context, o Origin, d Document) (Image, error) {
	img := Image{Document: d}
	if err := json.Unmarshal(d.Bytes, &img.Manifest); err != nil {
		return Image{}, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if !images.IsConfigType(img.Manifest.Config.MediaType) {
		return Image{}, fmt.Errorf("manifest %s is not that of a container image: its configuration has the media type %q",
			d.Digest, img.Manifest.Config.MediaType)
	}
	var err error
	if img.Config, err = Small(ctx, o, img.Manifest.Config); err != nil {
		return Image{}, err
	}
	var config struct {
		ocispec.Platform
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(img.Config, &config); err != nil {
		return Image{}, fmt.Errorf("configuration %s: %w", img.Manifest.Config.Digest, err)
	}
	if len(config.RootFS.DiffIDs) != len(img.Manifest.Layers) {
		return Image{}, fmt.Errorf("configuration %s has %d layers, the manifest has %d",
			img.Manifest.Config.Digest, len(config.RootFS.DiffIDs), len(img.Manifest.Layers))
	}
	img.Platform, img.DiffIDs = config.Platform, config.RootFS.DiffIDs
	return img, nil
}
