package image

import (
	"fmt"

	"github.com/containerd/stargz-snapshotter/estargz"
)

// Lazy reports whether every layer of the image carries the digest of a TOC,
// so that it can be read lazily as it is.
func (i *Image) Lazy() (bool, error) {
	manifest, err := i.Manifest()
	if err != nil {
		return false, fmt.Errorf("image: %s: %w", i.Name, err)
	}
	for _, layer := range manifest.Layers {
		if layer.Annotations[estargz.TOCJSONDigestAnnotation] == "" {
			return false, nil
		}
	}
	return len(manifest.Layers) > 0, nil
}
