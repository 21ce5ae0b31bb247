package registrytest

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// referrers returns the list of the manifests with a subject (OCI distribution specification
// 1.1, "Listing Referrers").
func (r *Registry) referrers(subject digest.Digest) []byte {
	list := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(r.mu.manifests)) {
		body := r.mu.manifests[name].body
		var m ocispec.Manifest
		if digest.FromBytes(body).String() != name || json.Unmarshal(body, &m) != nil || m.Subject == nil || m.Subject.Digest != subject {
			continue
		}
		if m.ArtifactType == "" {
			m.ArtifactType = m.Config.MediaType
		}
		list.Manifests = append(list.Manifests, ocispec.Descriptor{
			MediaType: r.mu.manifests[name].mediaType, ArtifactType: m.ArtifactType, Digest: digest.Digest(name), Size: int64(len(body)),
		})
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // it has no values that cannot be encoded
	}
	return b
}
