package image

import (
	"runtime"
	"slices"
)

// Format is how the layers of an image are stored.
type Format string

const (
	// Gzip is the ordinary form, without a table of contents.
	Gzip Format = "gzip"
	// Zstd is the same with one frame of zstd for each layer.
	Zstd Format = "zstd"
	// Uncompressed layers are tars as they are.
	Uncompressed Format = "uncompressed"
	// EStargz has no prioritized files (.no.prefetch.landmark).
	EStargz Format = "estargz"
	// EStargzPrefetch has the recipe's prioritized files first, and
	// .prefetch.landmark after them.
	EStargzPrefetch Format = "estargz-prefetch"
	// EStargzExternalTOC keeps the TOCs in a second image, <ref>-esgztoc.
	EStargzExternalTOC Format = "estargz-external-toc"
	// ZstdChunked is zstd:chunked, without prioritized files.
	ZstdChunked Format = "zstdchunked"
)

// Formats lists all formats.
func Formats() []Format {
	return []Format{Gzip, Zstd, Uncompressed, EStargz, EStargzPrefetch, EStargzExternalTOC, ZstdChunked}
}

// Plain reports whether layers of the format have no table of contents.
func (f Format) Plain() bool { return f == Gzip || f == Zstd || f == Uncompressed }

func (f Format) known() bool { return slices.Contains(Formats(), f) }

const hostArchitecture = runtime.GOARCH
