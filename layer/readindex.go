package layer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
)

// firstTail is how much of a blob's end is asked for before anything is known
// of it. It holds the whole TOC of a layer of some hundred files; larger ones
// take a second request.
const firstTail = 64 << 10

// readIndex fetches and parses the index of src: with one request, two where
// the TOC is large, and more only where it is external.
func (s *Set) readIndex(ctx context.Context, src fetch.Source) (*index.Index, error) {
	end := blobEnd{blob: s.fetch.Blob(src)}
	var err error
	if end.tail, end.size, err = end.blob.Tail(ctx, firstTail); err != nil {
		return nil, err
	}
	footer, err := index.ParseFooter(end.tail, end.size)
	if err != nil {
		return nil, invalid(err)
	}
	var toc []byte
	if footer.TOCOffset < 0 {
		toc, err = s.externalTOC(ctx, src)
	} else {
		toc, err = end.read(ctx, footer.TOCOffset, footer.TOCSize)
	}
	if err != nil {
		return nil, err
	}
	idx, err := index.Parse(toc, footer)
	if err != nil {
		return nil, invalid(err)
	}
	return idx, nil
}

// invalid tells blobs that have no TOC from those with a bad one.
func invalid(err error) error {
	if errors.Is(err, index.ErrNoTOC) {
		return fmt.Errorf("%w: %w", ErrNotLazy, err)
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// blobEnd is a blob whose last bytes are known.
type blobEnd struct {
	blob *fetch.Blob
	tail []byte
	size int64 // of the blob, in bytes
}

// read returns the n bytes at off of the blob and asks only for those that are
// not in the tail.
func (b blobEnd) read(ctx context.Context, off, n int64) ([]byte, error) {
	known := b.size - int64(len(b.tail))
	if off >= known {
		return b.tail[off-known:][:n], nil
	}
	head, err := readRange(ctx, b.blob, off, min(n, known-off))
	if err != nil || off+n <= known {
		return head, err
	}
	return append(head, b.tail[:off+n-known]...), nil
}

// externalTOC fetches the TOC of src from the image that holds the TOCs of
// src's image.
func (s *Set) externalTOC(ctx context.Context, src fetch.Source) ([]byte, error) {
	ref, err := index.ExternalTOCRef(src.Ref)
	if err != nil {
		return nil, fmt.Errorf("%w: its table of contents is external: %w", ErrNotLazy, err)
	}
	manifest, _, err := s.fetch.ManifestByTag(ctx, ref)
	if err != nil {
		return nil, err
	}
	toc, size, err := index.ExternalTOC(manifest, src.Digest)
	if err != nil {
		return nil, invalid(err)
	}
	return readRange(ctx, s.fetch.Blob(fetch.Source{Ref: ref, Digest: toc}), 0, size)
}

func readRange(ctx context.Context, blob *fetch.Blob, off, n int64) ([]byte, error) {
	r, err := blob.Range(ctx, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, err
	}
	return p, nil
}
