package index

// SOCI's indexes of an image (soci-snapshotter, soci/soci_index.go, and
// docs/soci-index-manifest-v2.md) are manifests whose layers are ztocs: see DecodeZtoc. They are
// known by the media type of their config. One of version 1 is attached to the image, as an artifact of
// ours is. That of version 2 is named by the manifest of the image, which was made anew for that, and
// is in the same image index, so that it is copied with it.
const (
	sociV1    = "application/vnd.amazon.soci.index.v1+json"
	sociV2    = "application/vnd.amazon.soci.index.v2+json"
	sociZtoc  = "application/octet-stream"
	sociLayer = "com.amazon.soci.image-layer-digest" // annotation of a ztoc: the layer's blob
	sociBound = "com.amazon.soci.index-digest"       // annotation of an image's manifest
)
