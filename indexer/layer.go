package indexer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/layer"
)

// Action is what became of a layer.
type Action string

// What becomes of layers.
const (
	Indexed Action = "indexed" // an index was made of it
	Lazy    Action = "lazy"    // it has one of its own
	Left    Action = "left"    // it has none: see Layer.Reason
)

// Layer is a layer of an image.
type Layer struct {
	ocispec.Descriptor // of the blob
	Action             Action
	Reason             string             // of Left
	Document           ocispec.Descriptor // of Indexed
}

// source is a layer of an image that is to be indexed.
type source struct {
	ocispec.Descriptor
	diffID   digest.Digest
	manifest []byte // of its image
}

// layer says in result what becomes of a layer, and puts its document if it has one.
func (w *work) layer(ctx context.Context, src source, result *Layer) error {
	err := w.index(ctx, src, result)
	if err != nil {
		return fmt.Errorf("layer %s: %w", src.Digest, err)
	}
	return nil
}

func (w *work) index(ctx context.Context, src source, result *Layer) error {
	result.Action = Left
	switch {
	case depot.MediaOf(src.MediaType) != depot.Tar:
		result.Reason = fmt.Sprintf("its media type is %s", src.MediaType)
		return nil
	case len(src.URLs) > 0:
		result.Reason = "its blob is not in the registry"
		return nil
	}
	lazy, err := w.isLazy(ctx, src)
	if err != nil {
		return err
	}
	if lazy {
		result.Action = Lazy
		return nil
	}
	made, err := w.read(ctx, src)
	var invalid invalidError
	if errors.As(err, &invalid) {
		result.Reason = invalid.Error()
		return nil
	}
	if err != nil {
		return err
	}
	if result.Reason = unreadable(made.Index); result.Reason != "" {
		return nil
	}
	document, err := index.EncodeDocument(&index.Document{Blob: made.Blob, BlobSize: src.Size, DiffID: made.DiffID, Index: made.Index})
	if err != nil {
		result.Reason = err.Error()
		return nil
	}
	if int64(len(document)) >= src.Size {
		result.Reason = "it is smaller than its index"
		return nil
	}
	result.Action = Indexed
	result.Document = ocispec.Descriptor{MediaType: index.MediaTypeDocument, Digest: digest.FromBytes(document), Size: int64(len(document))}
	return w.opts.Attachment.Put(ctx, result.Document, nil, depot.Bytes(document))
}

// isLazy reports whether a layer is lazily readable as it is.
func (w *work) isLazy(ctx context.Context, src source) (bool, error) {
	x, err := w.examiner.Examine(ctx, w.opts.Origin.Blob(src.Digest), func(ctx context.Context) (io.ReadCloser, int64, error) {
		toc, size, err := depot.ExternalTOC(ctx, w.opts.Origin, src.Digest)
		if errors.Is(err, index.ErrNoTOC) || errors.Is(err, fetch.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %w", layer.ErrNotLazy, err)
		}
		return toc, size, err
	})
	switch {
	case errors.Is(err, layer.ErrNotLazy), errors.Is(err, layer.ErrInvalid):
		return false, nil
	case err != nil:
		return false, err
	}
	return x.Verify(src.manifest, src.Digest) == nil, nil
}

// unreadable says why no part of a layer can be read by itself; empty: they can.
func unreadable(x *index.Index) string {
	if n := len(x.Chunks); x.Compression == index.Zstd && n > 1 && x.Chunks[0].BlobOffset == x.Chunks[n-1].BlobOffset {
		return "it is one frame of zstd"
	}
	return ""
}

// invalidError is the error of a blob that cannot be imported.
type invalidError struct{ error }

// read reads all of a layer's blob, and returns what it is. It verifies blob and diffID.
func (w *work) read(ctx context.Context, src source) (*index.Imported, error) {
	in, err := whole(ctx, w.opts.Origin.Blob(src.Digest), src.Size)
	if err != nil {
		return nil, err
	}
	body := &counted{ReadCloser: in, read: func(done int64) { w.opts.Progress.Advanced(src.Digest, done, src.Size) }}
	got, err := index.Import(ctx, body, nowhere{})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case body.failed() != nil:
		return nil, body.failed()
	case err != nil:
		return nil, invalidError{err}
	case got.Blob != src.Digest:
		return nil, fmt.Errorf("the content has the digest %s", got.Blob)
	case got.DiffID != src.diffID:
		return nil, fmt.Errorf("the uncompressed content has the digest %s, and not %s, which the configuration names", got.DiffID, src.diffID)
	}
	return got, nil
}

// whole opens a whole blob: one of a registry by several ranges side by side.
func whole(ctx context.Context, blob depot.Blob, size int64) (io.ReadCloser, error) {
	if b, ok := blob.(interface {
		Whole(ctx context.Context, size int64) *fetch.Whole
	}); ok {
		return b.Whole(ctx, size), nil
	}
	return blob.Range(ctx, 0, size)
}

// nowhere is a data file that is not kept.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// counted is a blob that counts its bytes and keeps its first error.
type counted struct {
	io.ReadCloser
	read func(done int64)
	done int64
	err  atomic.Pointer[error]
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.done += int64(n)
	c.read(c.done)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		c.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

func (c *counted) failed() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}
