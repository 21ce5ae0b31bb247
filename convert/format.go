package convert

import (
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/index"
)

// Format is a lazily readable format.
type Format string

// The formats.
const (
	EStargz     Format = "estargz"
	ZstdChunked Format = "zstd:chunked"
)

// Formats returns all formats.
func Formats() []Format { return []Format{EStargz, ZstdChunked} }

// ParseFormat returns the format with a name.
func ParseFormat(name string) (Format, error) {
	if f := Format(name); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("format %q: there are %q", name, Formats())
}

// compression is what the streams of a format are compressed with.
func (f Format) compression() index.Compression {
	if f == ZstdChunked {
		return index.Zstd
	}
	return index.Gzip
}

func (f Format) mediaType() string {
	if f == ZstdChunked {
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayerGzip
}

// window is the window of zstd streams in bytes: none is longer than a chunk, by much.
const window = 4 << 20

// level is the level of gzip. Higher ones need twice the time for two per cent less.
const level = 6

// writers are the compressors of each format that are not in use: a layer has a stream for
// each file.
var writers = map[Format]*sync.Pool{
	EStargz: {New: func() any {
		w, err := gzip.NewWriterLevel(io.Discard, level)
		if err != nil {
			panic(err) // the level is within its limits
		}
		return w
	}},
	ZstdChunked: {New: func() any {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(window),
			zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are within their limits
		}
		return w
	}},
}

// resettable is a compressor of package gzip or zstd.
type resettable interface {
	estargz.WriteFlushCloser
	Reset(io.Writer)
}

// stream is a compressor that counts the bytes it compresses and goes back to its pool.
type stream struct {
	resettable
	pool *sync.Pool
	n    *int64
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.resettable.Write(p)
	*s.n += int64(n)
	return n, err
}

func (s *stream) Close() error {
	err := s.resettable.Close()
	s.Reset(nil)
	s.pool.Put(s.resettable)
	s.resettable = nil
	return err
}

// partWriter is the compressor of a part, for package estargz. It keeps the TOC of the part
// instead of writing it.
type partWriter struct {
	format Format
	toc    *estargz.JTOC
	size   int64 // compressed bytes
	n      int64 // uncompressed bytes
}

// Writer implements estargz.Compressor.
func (p *partWriter) Writer(w io.Writer) (estargz.WriteFlushCloser, error) {
	pool := writers[p.format]
	c := pool.Get().(resettable)
	c.Reset(w)
	return &stream{c, pool, &p.n}, nil
}

// WriteTOCAndFooter implements estargz.Compressor.
func (p *partWriter) WriteTOCAndFooter(_ io.Writer, size int64, toc *estargz.JTOC, _ hash.Hash) (digest.Digest, error) {
	p.toc, p.size = toc, size
	return "", nil
}

// writeTOC writes TOC and footer of a blob with payload bytes before them, adds what it
// writes to the tar to diffID, and returns the annotations of the layer.
func (f Format) writeTOC(w io.Writer, payload int64, toc *estargz.JTOC, diffID hash.Hash) (map[string]string, error) {
	annotations := map[string]string{}
	var c estargz.Compressor = estargz.NewGzipCompressorWithLevel(gzip.BestCompression)
	if f == ZstdChunked {
		c = &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault, Metadata: annotations}
	}
	dgst, err := c.WriteTOCAndFooter(w, payload, toc, diffID)
	annotations[estargz.TOCJSONDigestAnnotation] = dgst.String()
	return annotations, err
}

// annotate returns the annotations of a layer in its new format: those of the old one
// without what is said of its bytes.
func annotate(old, format map[string]string, size int64) map[string]string {
	all := map[string]string{}
	for name, value := range old {
		if !slices.Contains(index.Annotations(), name) {
			all[name] = value
		}
	}
	for name, value := range format {
		all[name] = value
	}
	all[estargz.StoreUncompressedSizeAnnotation] = strconv.FormatInt(size, 10)
	return all
}
