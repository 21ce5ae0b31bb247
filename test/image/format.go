package image

import (
	"runtime"
	"slices"
)

// Format is how the layers of an image are stored.
type Format string

const (
	// Gzip is the ordinary form, which is pulled whole.
	Gzip Format = "gzip"
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
	return []Format{Gzip, EStargz, EStargzPrefetch, EStargzExternalTOC, ZstdChunked}
}

func (f Format) known() bool { return slices.Contains(Formats(), f) }

const hostArchitecture = runtime.GOARCH
