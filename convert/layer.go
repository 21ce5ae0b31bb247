package convert

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/layer"
)

// Action is what became of a layer.
type Action string

// What becomes of layers.
const (
	Converted Action = "converted"
	Copied    Action = "copied" // as it is, since it has the format
	Kept      Action = "kept"   // as it is, since it is no tar
)

// Layer is a layer of the result.
type Layer struct {
	Source ocispec.Descriptor
	ocispec.Descriptor
	DiffID digest.Digest
	Action Action

	// Reordered reports whether entries were put first, to be prefetched.
	Reordered bool
}

// source is a layer of an image that is converted.
type source struct {
	ocispec.Descriptor
	diffID   digest.Digest
	manifest []byte // of its image
}

// layer converts one layer and puts the result into the target.
func (c *conversion) layer(ctx context.Context, src source) (Layer, error) {
	l, err := c.convert(ctx, src)
	if err != nil {
		return Layer{}, fmt.Errorf("layer %s: %w", src.Digest, err)
	}
	return l, nil
}

func (c *conversion) convert(ctx context.Context, src source) (Layer, error) {
	l := Layer{Source: src.Descriptor, Descriptor: src.Descriptor, DiffID: src.diffID, Action: Kept}
	switch depot.MediaOf(src.MediaType) {
	case depot.Elsewhere:
		return l, nil // registries have no such blobs
	case depot.NoTar:
		return l, c.copyBlob(ctx, src.Descriptor)
	}
	has, err := c.hasFormat(ctx, src)
	if err != nil {
		return Layer{}, err
	}
	if has {
		l.Action, l.MediaType = Copied, c.opts.Format.mediaType()
		return l, c.copyBlob(ctx, src.Descriptor)
	}
	spooled, err := spool(ctx, c.opts.Origin, src.Descriptor, src.diffID, c.counter(src.Digest, Fetching, src.Size))
	if err != nil {
		return Layer{}, err
	}
	defer spooled.Close()
	built, err := c.build(ctx, src, spooled)
	if err != nil {
		return Layer{}, err
	}
	defer built.Close()
	l.Action, l.DiffID, l.Reordered = Converted, built.diffID, built.prioritized > 0
	l.Descriptor = ocispec.Descriptor{
		MediaType: c.opts.Format.mediaType(), Digest: built.digest, Size: built.size,
		Annotations: annotate(src.Annotations, built.annotations, built.tarSize),
	}
	return l, c.put(ctx, src.Digest, l.Descriptor, nil, built.open)
}

const (
	// entryMemory is an estimate of the bytes of memory for an entry while its layer
	// is built, and tableMemory bounds those of all layers.
	entryMemory = 1536
	tableMemory = 512 << 20
)

// build builds a layer when there is memory for it.
func (c *conversion) build(ctx context.Context, src source, s *spooled) (*built, error) {
	n := min(int64(len(s.entries))*entryMemory, tableMemory)
	if err := c.memory.Acquire(ctx, n); err != nil {
		return nil, context.Cause(ctx)
	}
	defer c.memory.Release(n)
	return c.builder.build(ctx, s, c.counter(src.Digest, Compressing, s.size))
}

// hasFormat reports whether a layer can be copied: it has the format, with its TOC in the
// blob and the TOC's digest in the manifest.
func (c *conversion) hasFormat(ctx context.Context, src source) (bool, error) {
	if len(c.opts.Prefetch) > 0 {
		return false, nil // its entries may be in another order
	}
	none := func(context.Context) (io.ReadCloser, int64, error) { return nil, 0, layer.ErrNotLazy }
	x, err := c.examiner.Examine(ctx, c.opts.Origin.Blob(src.Digest), none)
	switch {
	case errors.Is(err, layer.ErrNotLazy), errors.Is(err, layer.ErrInvalid):
		return false, nil
	case err != nil:
		return false, err
	}
	claim, err := index.ReadClaim(src.manifest, src.Digest)
	return err == nil && claim.TOC != "" && x.Verify(src.manifest, src.Digest) == nil &&
		x.Compression == c.opts.Format.compression() && !x.External, nil
}

// copyBlob copies a blob from the origin to the target.
func (c *conversion) copyBlob(ctx context.Context, desc ocispec.Descriptor) error {
	return c.put(ctx, desc.Digest, desc, c.opts.Origin, func(ctx context.Context) (io.ReadCloser, error) {
		return c.opts.Origin.Blob(desc.Digest).Range(ctx, 0, desc.Size)
	})
}

// put puts a blob into the target. It is a part of the work on the layer source.
func (c *conversion) put(ctx context.Context, source digest.Digest, desc ocispec.Descriptor, origin depot.Origin, open depot.Content) error {
	return c.opts.Target.Put(ctx, desc, origin, func(ctx context.Context) (io.ReadCloser, error) {
		r, err := open(ctx)
		if err != nil {
			return nil, err
		}
		w := &watched{ctx: ctx, r: r, read: c.counter(source, Writing, desc.Size)}
		return struct {
			io.Reader
			io.Closer
		}{w, r}, nil
	})
}
