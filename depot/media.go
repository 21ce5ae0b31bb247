package depot

import (
	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media is what a media type says of a layer.
type Media int

// What a media type says.
const (
	NoTar     Media = iota // something else than a tar
	Elsewhere              // a tar that is not to be copied from registries
	Tar                    // a tar, compressed or not
)

// MediaOf returns what the media type of a layer says.
func MediaOf(mediaType string) Media {
	if images.IsNonDistributable(mediaType) {
		return Elsewhere
	}
	switch mediaType {
	case ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd,
		images.MediaTypeDockerSchema2Layer, images.MediaTypeDockerSchema2LayerGzip, images.MediaTypeDockerSchema2LayerZstd:
		return Tar
	}
	return NoTar
}
