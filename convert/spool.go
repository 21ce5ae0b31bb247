package convert

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/depot"
)

// maxWindow bounds the window of a zstd stream: the limit of the zstd program.
const maxWindow = 128 << 20

// spooled is the tar of a layer in a temporary file.
type spooled struct {
	file    *os.File
	size    int64 // bytes
	entries []entry
}

// Close removes the file.
func (s *spooled) Close() error { return s.file.Close() }

// spool fetches a layer, verifies it, and returns its tar. read is called with the number
// of bytes of the blob that were read.
func spool(ctx context.Context, o depot.Origin, blob ocispec.Descriptor, diffID digest.Digest, read func(int)) (_ *spooled, err error) {
	if err := errors.Join(blob.Digest.Validate(), diffID.Validate()); err != nil {
		return nil, err
	}
	in, err := o.Blob(blob.Digest).Range(ctx, 0, blob.Size)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	file, err := unnamed()
	if err != nil {
		return nil, err
	}
	s := &spooled{file: file}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	sum, tarSum := blob.Digest.Verifier(), diffID.Verifier()
	compressed := io.TeeReader(&watched{ctx: ctx, r: in, read: read}, sum)
	plain, err := decompress(compressed)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	out := &holes{file: file}
	s.entries, err = scan(io.TeeReader(plain, io.MultiWriter(out, tarSum)))
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(io.Discard, compressed); err != nil { // what follows the stream
		return nil, err
	}
	if !sum.Verified() {
		return nil, fmt.Errorf("content has not digest %s", blob.Digest)
	}
	if !tarSum.Verified() {
		return nil, fmt.Errorf("uncompressed content has not the digest %s that the configuration names", diffID)
	}
	s.size = padded(s.entries, out.at)
	return s, file.Truncate(s.size)
}

// padded returns the number of bytes that a tar of size bytes has with the padding of its
// last entry, which may be missing.
func padded(entries []entry, size int64) int64 {
	if n := len(entries); n > 0 {
		return max(size, entries[n-1].end)
	}
	return size
}

// watched is a reader that ends with a context and tells how much was read.
type watched struct {
	ctx  context.Context
	r    io.Reader
	read func(int)
}

func (w *watched) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	n, err := w.r.Read(p)
	w.read(n)
	return n, err
}

var (
	gzipMagic = []byte{0x1f, 0x8b, 8}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
	skippable = []byte{0x2a, 0x4d, 0x18} // after a byte from 0x50 to 0x5f
)

// decompress returns the tar in r. As containerd does, it goes by the first bytes, whatever
// the media type is.
func decompress(r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	start, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, gzipMagic):
		return gzip.NewReader(in)
	case bytes.HasPrefix(start, zstdMagic), len(start) == 4 && start[0]>>4 == 5 && bytes.Equal(start[1:], skippable):
		d, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(in), nil
}

// unnamed returns a new temporary file that has no name any more.
func unnamed() (*os.File, error) {
	dir := os.Getenv("TMPDIR")
	if dir == "" {
		dir = "/var/tmp"
	}
	f, err := os.CreateTemp(dir, "ladle-convert-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// holes writes a new file from its start, and leaves out zeros.
type holes struct {
	file *os.File
	at   int64 // where the next byte belongs
}

func (h *holes) Write(p []byte) (int, error) {
	if len(p) == 0 || p[0] != 0 || !bytes.Equal(p[1:], p[:len(p)-1]) {
		if n, err := h.file.WriteAt(p, h.at); err != nil {
			return n, err
		}
	}
	h.at += int64(len(p))
	return len(p), nil
}
