package index

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ladle-dev/ladle/inflate"
)

// Compression is how streams of a blob are compressed.
type Compression string

// The compressions of lazily readable layers.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// A zstd stream says how many bytes of its own output it may refer back to. The
// decoder has to keep as many, and has room for them before it reads a byte.
const (
	maxWindow = 128 << 20 // the limit of the zstd program
	// usualWindow is what a decoder should take at least (RFC 8878, section
	// 3.1.1.1.2), and what those of eStargz and containers/storage take at most.
	usualWindow = 8 << 20
)

// gzipMemory is what a decoder of gzip takes: the window of 32 KiB, and tables.
const gzipMemory = 64 << 10

// pointMemory is what it takes to decode a point: the windows of 8 are decoded with it.
const pointMemory = 128 << 10

// Memory returns how many bytes of memory the reader of the stream at which r
// stands will take. It reads the stream's first bytes into the buffer of r.
func (c Compression) Memory(r *bufio.Reader) int64 {
	switch c {
	case Zstd:
		return windowOf(r)
	case Plain:
		return 0
	case Points, Spans:
		return inflate.Memory + pointMemory
	}
	return gzipMemory
}

// windowOf returns the window of the zstd frame at which r stands if it is
// larger than usual, and else usualWindow.
func windowOf(r *bufio.Reader) int64 {
	var h zstd.Header
	start, _ := r.Peek(zstd.HeaderMaxSize) // what is wrong with it the decoder finds, too
	if h.Decode(start) != nil || h.Skippable {
		return usualWindow
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	return int64(max(usualWindow, min(window, maxWindow)))
}

// NewReader returns a reader of the decompressed bytes of the one stream at
// which r stands. The caller closes it. It may read r further than the stream,
// but reads nothing of r that the bytes asked for do not need, except to fill
// a small buffer; if r is a *bufio.Reader it has no buffer of its own.
//
// A gzip stream ends with an io.EOF whatever follows in r. Zstd frames that
// follow one another are one stream.
func (c Compression) NewReader(r io.Reader) (io.ReadCloser, error) {
	switch c {
	case Gzip:
		return newGzipStream(r, false)
	case Zstd:
		return newZstdStream(r)
	case Plain:
		return &stream{Reader: r}, nil
	}
	return nil, fmt.Errorf("compression %q: %w", c, errors.ErrUnsupported)
}

// stream is a decompressor that goes back to its pool when it is closed.
type stream struct {
	io.Reader
	release func()
}

func (s *stream) Close() error {
	if s.release != nil {
		s.release()
		s.Reader, s.release = bytes.NewReader(nil), nil
	}
	return nil
}

var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}

func newGzipStream(r io.Reader, members bool) (io.ReadCloser, error) {
	zr := gzipReaders.Get().(*gzip.Reader)
	if err := zr.Reset(r); err != nil {
		gzipReaders.Put(zr)
		return nil, fmt.Errorf("gzip: %w", unexpected(err))
	}
	zr.Multistream(members)
	return &stream{zr, func() { gzipReaders.Put(zr) }}, nil
}

// zstdReader is a decoder with the buffer that it needs: it asks its source
// for three bytes at a time.
type zstdReader struct {
	*zstd.Decoder
	in *bufio.Reader
}

// zstdReaders are decoders for streams with usual windows. They keep what they
// have allocated.
var zstdReaders = sync.Pool{New: func() any {
	return &zstdReader{newZstdDecoder(usualWindow), bufio.NewReaderSize(nil, 32<<10)}
}}

// newZstdDecoder returns a decoder for streams whose windows have up to so many
// bytes.
func newZstdDecoder(window int64) *zstd.Decoder {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // no goroutines: a pool may drop it unclosed
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(window)),
		zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		panic(err) // the options are within their limits
	}
	return d
}

func newZstdStream(r io.Reader) (io.ReadCloser, error) {
	zr := zstdReaders.Get().(*zstdReader)
	in, ok := r.(*bufio.Reader)
	if !ok {
		zr.in.Reset(r)
		in = zr.in
	}
	decoder := zr.Decoder
	if window := windowOf(in); window > usualWindow {
		decoder = newZstdDecoder(window) // for this stream alone
	}
	if err := decoder.Reset(in); err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &stream{decoder, func() {
		if zr.Reset(nil) == nil {
			zr.in.Reset(nil)
			zstdReaders.Put(zr)
		}
	}}, nil
}

// unexpected returns err, but for the end of the input, which is too early
// wherever a stream should be.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
