package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Claim is what a manifest says about a layer. Fields that it does not say are
// zero.
type Claim struct {
	Size          int64         // bytes of the blob
	TOC           digest.Digest // of the uncompressed TOC
	CompressedTOC digest.Digest // of the compressed TOC, which only zstd:chunked has
	Footer        Footer        // where the TOC is, which only zstd:chunked has
}

// The annotations of zstd:chunked layers are written under these names by
// containers/storage; package zstdchunked has stargz-snapshotter's names.
const (
	chunkedChecksum = "io.github.containers.zstd-chunked.manifest-checksum"
	chunkedPosition = "io.github.containers.zstd-chunked.manifest-position"
	chunkedTarSplit = "io.github.containers.zstd-chunked.tarsplit-position"
)

// externalLayer is the annotation of a layer of a TOC image that has the digest of the blob
// to which the TOC belongs.
const externalLayer = "containerd.io/snapshot/stargz/layer.digest"

// ErrNoLayer is returned for a manifest that does not have the layer.
var ErrNoLayer = errors.New("layer not in manifest")

// ReadClaim returns what manifest, that of an image, says about its layer
// blob. It returns ErrNoLayer if it has no such layer.
func ReadClaim(manifest []byte, blob digest.Digest) (Claim, error) {
	layers, err := readLayers(manifest)
	if err != nil {
		return Claim{}, err
	}
	for _, l := range layers {
		if l.Digest == blob {
			return newClaim(&l)
		}
	}
	return Claim{}, fmt.Errorf("%s: %w", blob, ErrNoLayer)
}

func newClaim(l *ocispec.Descriptor) (Claim, error) {
	c := Claim{Size: l.Size}
	for name, value := range l.Annotations {
		var err error
		switch name {
		case estargz.TOCJSONDigestAnnotation:
			c.TOC, err = digest.Parse(value)
		case chunkedChecksum, zstdchunked.ManifestChecksumAnnotation:
			c.CompressedTOC, err = digest.Parse(value)
		case chunkedPosition, zstdchunked.ManifestPositionAnnotation:
			c.Footer, err = parsePosition(value, l.Annotations[chunkedTarSplit], l.Size)
		}
		if err != nil {
			return Claim{}, fmt.Errorf("annotation %s: %q: %w", name, value, err)
		}
	}
	return c, nil
}

// parsePosition reads the position of a TOC, "offset:length:uncompressed
// length:type", and that of the tar-split data, "offset:length:uncompressed
// length", which may be empty, in a blob of size bytes.
func parsePosition(toc, split string, size int64) (Footer, error) {
	f := Footer{Compression: Zstd}
	var uncompressed, kind, splitOffset int64
	if _, err := fmt.Sscanf(toc, "%d:%d:%d:%d", &f.TOCOffset, &f.TOCSize, &uncompressed, &kind); err != nil {
		return Footer{}, err
	}
	if kind != manifestTypeCRFS {
		return Footer{}, fmt.Errorf("table of contents of type %d", kind)
	}
	if f.TOCOffset < skippableHeader {
		return Footer{}, fmt.Errorf("table of contents at %d", f.TOCOffset)
	}
	f.PayloadSize = f.TOCOffset - skippableHeader
	if n, _ := fmt.Sscanf(split, "%d:", &splitOffset); n == 1 && splitOffset >= skippableHeader {
		f.PayloadSize = min(f.PayloadSize, splitOffset-skippableHeader)
	}
	return f, f.check(size)
}

// ExternalTOC finds the TOC of the layer blob in manifest, that of a TOC
// image, and returns digest and size in bytes of the blob that is the TOC: what
// Parse takes, with the footer of the layer. It returns ErrNoTOC if there is
// none.
//
// stargz-snapshotter's converter writes one TOC image per image, with one
// layer for each layer of the image; ExternalTOCRef tells where it is. Nothing
// but the digest of the TOC in the manifest of the image itself connects the
// two: without it an external TOC cannot be trusted.
func ExternalTOC(manifest []byte, blob digest.Digest) (toc digest.Digest, size int64, err error) {
	layers, err := readLayers(manifest)
	if err != nil {
		return "", 0, err
	}
	for _, l := range layers {
		if l.Annotations[externalLayer] != blob.String() {
			continue
		}
		if err := l.Digest.Validate(); err != nil {
			return "", 0, fmt.Errorf("manifest: %w", err)
		}
		if l.Size <= 0 || l.Size > maxTOC {
			return "", 0, fmt.Errorf("manifest: table of contents of %d bytes", l.Size)
		}
		return l.Digest, l.Size, nil
	}
	return "", 0, fmt.Errorf("%s: %w", blob, ErrNoTOC)
}

// ExternalTOCRef returns the reference of the TOC image of the image ref: the
// tag of ref with "-esgztoc" after it, in the same repository.
func ExternalTOCRef(ref string) (string, error) {
	spec, err := reference.Parse(ref)
	if err != nil {
		return "", err
	}
	tag, _, _ := strings.Cut(spec.Object, "@")
	if tag == "" {
		return "", fmt.Errorf("%s: no tag", ref)
	}
	return spec.Locator + ":" + tag + "-esgztoc", nil
}

// maxLayers is how many layers a manifest may have. Images have some ten, and
// overlayfs stacks 500 (Linux fs/overlayfs/params.h, OVL_MAX_STACK); descriptors
// take two hundred times as much memory as the shortest ones take in JSON.
const maxLayers = 1 << 12

// readLayers returns the layers of a manifest. Unlike json.Unmarshal it looks at
// one after the other.
func readLayers(manifest []byte) ([]ocispec.Descriptor, error) {
	var m struct {
		Layers layerList `json:"layers"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m.Layers, nil
}

type layerList []ocispec.Descriptor

// UnmarshalJSON refuses a list of more than maxLayers.
func (l *layerList) UnmarshalJSON(list []byte) error {
	*l = nil // of a list that comes twice the last counts, as always
	d := json.NewDecoder(bytes.NewReader(list))
	switch t, err := d.Token(); {
	case err != nil || t == nil:
		return err // null has no layers
	case t != json.Delim('['):
		return fmt.Errorf("layers are %.300q", t)
	}
	for d.More() {
		if len(*l) == maxLayers {
			return fmt.Errorf("more than %d layers", maxLayers)
		}
		var one ocispec.Descriptor
		if err := d.Decode(&one); err != nil {
			return err
		}
		*l = append(*l, one)
	}
	return nil
}

// Annotations returns the names of the annotations by which a manifest says something of
// the bytes of a layer.
func Annotations() []string {
	return []string{
		estargz.TOCJSONDigestAnnotation, estargz.StoreUncompressedSizeAnnotation,
		zstdchunked.ManifestChecksumAnnotation, zstdchunked.ManifestPositionAnnotation,
		chunkedChecksum, chunkedPosition, chunkedTarSplit,
	}
}
