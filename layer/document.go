package layer

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/index"
)

// ExamineDocument reads the document desc of the layer blob, of which from has the bytes. That
// the document is right is not known: see Set. An error matches ErrInvalid, or is one of
// from, or the cause of ctx's end.
func (e *Examiner) ExamineDocument(ctx context.Context, from Blob, desc ocispec.Descriptor, blob digest.Digest) (*index.Document, error) {
	n := min(index.Memory(max(0, desc.Size)), parseMemory)
	if err := e.parsing.Acquire(ctx, n); err != nil {
		return nil, context.Cause(ctx)
	}
	defer e.parsing.Release(n)
	return readDocument(ctx, from, desc, blob)
}

// readDocument reads a document of the layer blob, and verifies that it has the digest of
// desc.
func readDocument(ctx context.Context, from Blob, desc ocispec.Descriptor, blob digest.Digest) (*index.Document, error) {
	if desc.Size <= 0 || desc.Size > index.MaxDocument {
		return nil, fmt.Errorf("%w: document of %d bytes", ErrInvalid, desc.Size)
	}
	r, err := from.Range(ctx, 0, desc.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, desc.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(b); got != desc.Digest {
		return nil, fmt.Errorf("%w: document %s has the digest %s", ErrInvalid, desc.Digest, got)
	}
	doc, err := index.ReadDocument(b, blob)
	if err != nil {
		return nil, fmt.Errorf("%w: document %s: %w", ErrInvalid, desc.Digest, err)
	}
	return doc, nil
}
