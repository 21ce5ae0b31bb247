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
	blob := s.fetch.Blob(src)
	tail, size, err := blob.Tail(ctx, firstTail)
	if err != nil {
		return nil, err
	}
	footer, err := index.ParseFooter(tail, size)
	if errors.Is(err, index.ErrNoTOC) {
		return nil, fmt.Errorf("%w: %w", ErrNotLazy, err)
	} else if err != nil {
		return nil, err
	}
	toc, err := s.readTOC(ctx, src, blob, footer, tail, size)
	if err != nil {
		return nil, err
	}
	return index.Parse(toc, footer)
}

func (s *Set) readTOC(ctx context.Context, src fetch.Source, blob *fetch.Blob, footer index.Footer, tail []byte, size int64) ([]byte, error) {
	if footer.TOCOffset < 0 {
		return s.externalTOC(ctx, src)
	}
	from, end := footer.TOCOffset, footer.TOCOffset+footer.TOCSize
	have := size - int64(len(tail))
	if from >= have {
		return tail[from-have : end-have], nil
	}
	head, err := readRange(ctx, blob, from, min(end, have)-from)
	if err != nil || end <= have {
		return head, err
	}
	return append(head, tail[:end-have]...), nil
}

// externalTOC fetches the TOC of src from the image that holds the TOCs of
// src's image.
func (s *Set) externalTOC(ctx context.Context, src fetch.Source) ([]byte, error) {
	ref, err := index.ExternalTOCRef(src.Ref)
	if err != nil {
		return nil, err
	}
	manifest, _, err := s.fetch.ManifestByTag(ctx, ref)
	if err != nil {
		return nil, err
	}
	toc, size, err := index.ExternalTOC(manifest, src.Digest)
	if err != nil {
		return nil, err
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
