package inspect

import (
	"github.com/opencontainers/go-digest"
)

// Report is what is known of what a reference names. Its JSON form is documented in
// docs/command-line.md; Schema changes if that becomes incompatible.
type Report struct {
	Schema    int           `json:"schema"`
	Reference string        `json:"reference"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Images    []Image       `json:"images"`
}

// Schema is the version of the JSON form.
const Schema = 1

// Image is the image of one platform.
type Image struct {
	Platform  string        `json:"platform"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Layers    []Layer       `json:"layers"` // the lowest first
	Totals    Totals        `json:"totals"`
}

// Totals are sums over the layers of an image.
type Totals struct {
	Size       int64 `json:"size"`       // bytes, compressed
	Lazy       int   `json:"lazy"`       // layers
	BeforeRun  int64 `json:"beforeRun"`  // see Layer
	Conversion int64 `json:"conversion"` // see Layer
}

// Format is the format of a layer.
type Format string

// The formats.
const (
	EStargz            Format = "estargz"
	EStargzExternalTOC Format = "estargz-external-toc"
	ZstdChunked        Format = "zstd:chunked"
	Gzip               Format = "gzip"
	Zstd               Format = "zstd"
	Tar                Format = "tar"
	EROFS              Format = "erofs"
	Unknown            Format = "unknown"
)

// Fetched is how the blob of a layer is fetched.
type Fetched string

// Ways to fetch a blob.
const (
	// Lazily: what is read. The layer is lazy.
	Lazily Fetched = "lazily"

	// Imported: all of it, by ladle. The layer has no index that can be used, but keeps no
	// layer above it from being lazy.
	Imported Fetched = "imported"

	// Downloaded: all of it, by containerd. The layer, or one below it, is neither lazy
	// nor imported.
	Downloaded Fetched = "downloaded"
)

// Transfer says how a blob is fetched.
type Transfer struct {
	Fetched Fetched `json:"fetched"`
	// Again is the same for a node that has imported the layer, and removed it since. Empty
	// if ladle does not import it.
	Again Fetched `json:"again,omitempty"`
}

// Layer is a layer of an image. Sizes are in bytes; what is not known is left out.
type Layer struct {
	MediaType    string        `json:"mediaType"`
	Digest       digest.Digest `json:"digest"`
	DiffID       digest.Digest `json:"diffID"`
	Format       Format        `json:"format"`
	Size         int64         `json:"size"`                   // compressed
	Uncompressed int64         `json:"uncompressed,omitempty"` // the tar, by the annotation of the manifest

	// Lazy reports whether ladle reads the layer lazily, and Reason says why it does
	// not.
	Lazy   bool   `json:"lazy"`
	Reason string `json:"reason,omitempty"`

	Transfer

	// Index is there if there is one, whether or not the layer is lazy.
	Index *Index `json:"index,omitempty"`

	// BeforeRun is what is fetched before a container can run: all of a layer that is
	// imported or downloaded; of another one the index, and what its author wants
	// prefetched.
	BeforeRun int64 `json:"beforeRun"`

	// Conversion is how much of that a conversion would save at most: all that is not
	// read; zero if all of it is not fetched, or it cannot be converted.
	Conversion int64 `json:"conversion"`
}

// Source is where an index is.
type Source string

// Where indexes are.
const (
	InBlob   Source = "blob"
	InImage  Source = "image"    // that of external TOCs
	Bound    Source = "bound"    // in an artifact that the manifest of the image names
	Attached Source = "attached" // in an artifact that names the manifest of the image
)

// Index is what a blob says about itself, or what an artifact says of it.
type Index struct {
	Source           Source        `json:"source"`
	Digest           digest.Digest `json:"digest"`           // of the uncompressed TOC, or of the document
	CompressedDigest digest.Digest `json:"compressedDigest"` // of the compressed TOC
	Size             int64         `json:"size"`             // of the compressed TOC, or of the document
	Chunks           int           `json:"chunks"`
	Files            int           `json:"files"`    // regular files; hard links count once
	Contents         int64         `json:"contents"` // bytes of these files
	Prefetch         int64         `json:"prefetch"` // bytes of the blob before the prefetch landmark
}
