package index

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ArtifactType is the type of an artifact with the indexes of an image's layers: a
// manifest with one document for each of them, of type MediaTypeDocument (OCI image
// specification, manifest.md, "Guidelines for Artifact Usage").
const ArtifactType = "application/vnd.ladle.index.v1+json"

const (
	// annotationBlob is the annotation of a document in an artifact: the digest of the
	// layer's blob.
	annotationBlob = "io.github.ladle-dev.index.blob"

	// annotationArtifact is the annotation by which the manifest of an image names the
	// digest of an artifact's manifest.
	annotationArtifact = "io.github.ladle-dev.index.manifest"
)

// MaxDocument bounds a document, in bytes.
const MaxDocument = 256 << 20

// maxArtifacts bounds the artifacts of one image and one type that are looked at.
const maxArtifacts = 8

// Artifact is what the manifest of an artifact says.
type Artifact struct {
	Subject digest.Digest // of the manifest of the image that it is attached to; empty: none
	// Documents are the documents by the digest of the layer's blob. Digest and size of a
	// descriptor are valid, the size is at most MaxDocument.
	Documents map[digest.Digest]ocispec.Descriptor
}

// NewArtifact returns the manifest of an artifact that is attached to the image with the
// manifest subject. It has the documents of these layers, in their order. Equal arguments
// have equal manifests. It refers to one more blob, ocispec.DescriptorEmptyJSON.
func NewArtifact(subject ocispec.Descriptor, layers []digest.Digest, documents map[digest.Digest]ocispec.Descriptor) ([]byte, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType, Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{},
		Subject: &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	}
	seen := map[digest.Digest]bool{}
	for _, blob := range layers {
		of, ok := documents[blob]
		if !ok || seen[blob] {
			continue
		}
		seen[blob] = true
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: MediaTypeDocument, Digest: of.Digest, Size: of.Size,
			Annotations: map[string]string{annotationBlob: blob.String()},
		})
	}
	return json.Marshal(m)
}

// artifactForm is how an artifact has documents: their media type, and the annotation with the
// digest of the layer's blob.
type artifactForm struct{ document, blob string }

// artifactForms are the forms of artifacts by their type.
var artifactForms = map[string]artifactForm{
	ArtifactType: {MediaTypeDocument, annotationBlob},
	sociV1:       {sociZtoc, sociLayer},
	sociV2:       {sociZtoc, sociLayer},
}

// ReadArtifact reads the manifest of an artifact, of Ladle or of SOCI. What it is not, or is wrong
// in it, is an error.
func ReadArtifact(manifest []byte) (Artifact, error) {
	var m struct {
		ArtifactType string `json:"artifactType"`
		Config       struct {
			MediaType string `json:"mediaType"`
		} `json:"config"`
		Subject struct {
			Digest digest.Digest `json:"digest"`
		} `json:"subject"`
		Layers layerList `json:"layers"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return Artifact{}, fmt.Errorf("artifact: %w", err)
	}
	if m.ArtifactType == "" {
		m.ArtifactType = m.Config.MediaType // OCI image specification, manifest.md
	}
	form, ok := artifactForms[m.ArtifactType]
	if !ok {
		return Artifact{}, fmt.Errorf("artifact of type %.300q, and not %q", m.ArtifactType, ArtifactType)
	}
	a := Artifact{Subject: m.Subject.Digest, Documents: map[digest.Digest]ocispec.Descriptor{}}
	for _, l := range m.Layers {
		if l.MediaType != form.document {
			continue // of a later version, or of another kind
		}
		blob := digest.Digest(l.Annotations[form.blob])
		if err := errors.Join(blob.Validate(), l.Digest.Validate()); err != nil {
			return Artifact{}, fmt.Errorf("artifact: %w", err)
		}
		if l.Size <= 0 || l.Size > MaxDocument {
			return Artifact{}, fmt.Errorf("artifact: document of %d bytes", l.Size)
		}
		if _, ok := a.Documents[blob]; !ok {
			a.Documents[blob] = l
		}
	}
	return a, nil
}

// boundBy are the annotations by which the manifest of an image names an artifact's, Ladle's first.
var boundBy = []string{annotationArtifact, sociBound}

// Unbind removes from the annotations of an image's manifest, which may be nil, those that name an
// artifact.
func Unbind(annotations map[string]string) {
	for _, name := range boundBy {
		delete(annotations, name)
	}
}

// Bound returns the digest of the artifact's manifest that the manifest of an image names, one of
// Ladle rather than one of SOCI; empty: none.
func Bound(manifest []byte) digest.Digest {
	var m struct {
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal(manifest, &m) != nil {
		return ""
	}
	for _, annotation := range boundBy {
		if bound := digest.Digest(m.Annotations[annotation]); bound.Validate() == nil {
			return bound
		}
	}
	return ""
}

// ReadReferrers returns the manifests of artifacts with indexes that are in a list of
// referrers (OCI distribution specification, "Listing Referrers"): at most 8 of SOCI, and behind
// them at most 8 of Ladle.
func ReadReferrers(list []byte) ([]ocispec.Descriptor, error) {
	var idx struct {
		Manifests layerList `json:"manifests"`
	}
	if err := json.Unmarshal(list, &idx); err != nil {
		return nil, fmt.Errorf("referrers: %w", err)
	}
	var found []ocispec.Descriptor
	for _, kind := range []string{sociV1, ArtifactType} {
		n := 0
		for _, m := range idx.Manifests {
			if m.ArtifactType == kind && m.Digest.Validate() == nil && n < maxArtifacts {
				found = append(found, m)
				n++
			}
		}
	}
	return found, nil
}

// AddReferrer returns a list of referrers, which is empty if there was none, with the
// artifact in the place of others of its type. The result is list itself if that has it
// already.
func AddReferrer(list []byte, artifact ocispec.Descriptor) ([]byte, error) {
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	if list != nil {
		if err := json.Unmarshal(list, &idx); err != nil {
			return nil, fmt.Errorf("referrers: %w", err)
		}
	}
	kept := []ocispec.Descriptor{}
	has := 0
	for _, m := range idx.Manifests {
		switch {
		case m.ArtifactType != ArtifactType:
			kept = append(kept, m)
		case m.Digest == artifact.Digest:
			has++
		default:
			has = -maxLayers
		}
	}
	if has == 1 {
		return list, nil
	}
	idx.Manifests = append(kept, ocispec.Descriptor{
		MediaType: artifact.MediaType, ArtifactType: ArtifactType, Digest: artifact.Digest, Size: artifact.Size,
	})
	return json.Marshal(idx)
}
