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
)

// Compression is how streams of a blob are compressed.
type Compression string

// The compressions of lazily readable layers.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// maxWindow is how many bytes of its own output a zstd stream may refer back
// to, which the decoder has to keep. It is the limit of the zstd program.
const maxWindow = 128 << 20

// NewReader returns a reader of the decompressed bytes of the one stream at
// which r stands. The caller closes it. It may read r further than the stream,
// but reads nothing of r that the bytes asked for do not need, except to fill
// a small buffer; if r is an io.ByteReader it has no buffer of its own.
//
// A gzip stream ends with an io.EOF whatever follows in r. Zstd frames that
// follow one another are one stream.
func (c Compression) NewReader(r io.Reader) (io.ReadCloser, error) {
	switch c {
	case Gzip:
		return newGzipStream(r)
	case Zstd:
		return newZstdStream(r)
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

func newGzipStream(r io.Reader) (io.ReadCloser, error) {
	zr := gzipReaders.Get().(*gzip.Reader)
	if err := zr.Reset(r); err != nil {
		gzipReaders.Put(zr)
		return nil, fmt.Errorf("gzip: %w", unexpected(err))
	}
	zr.Multistream(false)
	return &stream{zr, func() { gzipReaders.Put(zr) }}, nil
}

// zstdReader is a decoder with the buffer that it needs: it asks its source
// for three bytes at a time.
type zstdReader struct {
	*zstd.Decoder
	in *bufio.Reader
}

var zstdReaders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // no goroutines: a pool may drop it unclosed
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		panic(err) // the options are constants
	}
	return &zstdReader{d, bufio.NewReaderSize(nil, 32<<10)}
}}

func newZstdStream(r io.Reader) (io.ReadCloser, error) {
	zr := zstdReaders.Get().(*zstdReader)
	if _, ok := r.(io.ByteReader); !ok {
		zr.in.Reset(r)
		r = zr.in
	}
	if err := zr.Reset(r); err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &stream{zr, func() {
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
