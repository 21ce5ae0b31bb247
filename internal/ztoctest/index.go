package ztoctest

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Index returns the manifest of a SOCI index of version "v1" or "v2", with the ztoc of one layer.
// It refers to one more blob, ocispec.DescriptorEmptyJSON.
func Index(version string, subject *ocispec.Descriptor, ztoc ocispec.Descriptor, layer digest.Digest) ([]byte, error) {
	config := ocispec.DescriptorEmptyJSON
	config.MediaType, config.Data = "application/vnd.amazon.soci.index."+version+"+json", nil
	return json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Subject: subject,
		Layers: []ocispec.Descriptor{{
			MediaType: "application/octet-stream", Digest: ztoc.Digest, Size: ztoc.Size,
			Annotations: map[string]string{
				"com.amazon.soci.image-layer-digest":    layer.String(),
				"com.amazon.soci.image-layer-mediaType": ocispec.MediaTypeImageLayerGzip,
			},
		}},
		Annotations: map[string]string{"com.amazon.soci.build-tool-identifier": "ztoctest"},
	})
}
