package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
)

// firstTail is the number of bytes of the blob's end in the first request. It contains
// the whole TOC of a layer with some hundred files; a larger one needs a second request.
const firstTail = 64 << 10

// encoded is an index in the encoding of the store, which needs less memory than a tree.
type encoded struct {
	toc, compressedTOC digest.Digest
	content            store.Content // without the fields that depend on a Request
}

func encode(idx *index.Index) *encoded {
	return &encoded{idx.TOCDigest, idx.CompressedTOCDigest, store.Content{
		DataSize: idx.DataSize,
		Chunks:   index.EncodeTable(idx),
		NChunks:  len(idx.Chunks),
		Entries:  index.EncodeTree(idx.Root),
	}}
}

// readIndex fetches and parses the index of src: with one request, with two if the TOC is
// large, with more if it is external. It adds the tree to s.trees under the digest of the
// TOC, whether or not an image refers to that. It returns the size of the blob in bytes,
// too, also if the blob is not lazily readable, or, if it is known, with fetch.ErrNoRanges.
func (s *Set) readIndex(ctx context.Context, src fetch.Source) (idx *encoded, size int64, err error) {
	end, err := endOf(ctx, fetchedBlob{s.fetch.Blob(src)})
	if err != nil {
		return nil, end.size, err
	}
	idx, err = s.readTOC(ctx, src, end)
	return idx, end.size, err
}

func (s *Set) readTOC(ctx context.Context, src fetch.Source, end blobEnd) (*encoded, error) {
	external := func(ctx context.Context) (io.ReadCloser, int64, error) { return s.externalTOC(ctx, src) }
	t, err := findTOC(ctx, end, external)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	taken, err := s.budget.parse(ctx, index.Memory(t.size))
	if err != nil {
		return nil, err
	}
	defer taken.release()
	idx, err := parse(t, t.footer)
	if err != nil {
		return nil, err
	}
	s.caches.addTree(store.ID{Blob: src.Digest, TOC: idx.TOCDigest}, idx.Root)
	return encode(idx), nil
}

// toc is a compressed TOC that is being read.
type toc struct {
	io.ReadCloser
	size   int64 // bytes
	footer index.Footer
}

// findTOC reads the footer of a blob and opens its TOC, an external one by calling
// external. The caller closes the TOC.
func findTOC(ctx context.Context, end blobEnd, external ExternalTOC) (*toc, error) {
	t := &toc{}
	var err error
	if t.footer, err = index.ParseFooter(end.tail, end.size); err != nil {
		return nil, invalid(err)
	}
	t.size = t.footer.TOCSize
	if t.footer.TOCOffset < 0 {
		t.ReadCloser, t.size, err = external(ctx)
	} else {
		t.ReadCloser, err = end.open(ctx, t.footer.TOCOffset, t.size)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// parse parses a TOC while it is received. It distinguishes errors of the connection from
// an invalid TOC.
func parse(toc io.Reader, footer index.Footer) (*index.Index, error) {
	r := &failing{Reader: toc}
	idx, err := index.Parse(r, footer)
	if r.err != nil {
		return nil, r.err
	}
	if err != nil {
		return nil, invalid(err)
	}
	return idx, nil
}

// failing stores the error of its Reader, except io.EOF.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// invalid returns ErrNotLazy for a blob without a TOC, and ErrInvalid for one with an
// invalid TOC.
func invalid(err error) error {
	if errors.Is(err, index.ErrNoTOC) {
		return fmt.Errorf("%w: %w", ErrNotLazy, err)
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// blobEnd is a blob with its last bytes.
type blobEnd struct {
	blob Blob
	tail []byte
	size int64 // of the blob, in bytes
}

// endOf fetches the last bytes of a blob.
func endOf(ctx context.Context, blob Blob) (blobEnd, error) {
	tail, size, err := blob.Tail(ctx, firstTail)
	return blobEnd{blob, tail, size}, err
}

// open returns a reader of the n bytes at off of the blob. It requests only bytes before
// the tail.
func (b blobEnd) open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	known := b.size - int64(len(b.tail))
	if off >= known {
		return io.NopCloser(bytes.NewReader(b.tail[off-known:][:n])), nil
	}
	head, err := b.blob.Range(ctx, off, min(n, known-off))
	if err != nil {
		return nil, err
	}
	rest := bytes.NewReader(b.tail[:max(0, off+n-known)])
	return joined{io.MultiReader(head, rest), head}, nil
}

// joined is a Reader and the Closer of another one.
type joined struct {
	io.Reader
	io.Closer
}

// externalTOC fetches the TOC of src from the image with the TOCs of src's image, and
// returns it with its size in bytes.
func (s *Set) externalTOC(ctx context.Context, src fetch.Source) (toc io.ReadCloser, size int64, err error) {
	ref, err := index.ExternalTOCRef(src.Ref)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: its table of contents is external: %w", ErrNotLazy, err)
	}
	manifest, _, err := s.fetch.ManifestByTag(ctx, ref)
	if errors.Is(err, fetch.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrNotLazy, err)
	}
	if err != nil {
		return nil, 0, err
	}
	blob, size, err := index.ExternalTOC(manifest, src.Digest)
	if err != nil {
		return nil, 0, invalid(err)
	}
	toc, err = fetchedBlob{s.fetch.Blob(fetch.Source{Ref: ref, Digest: blob})}.Range(ctx, 0, size)
	return toc, size, err
}

// fetchedBlob is a Blob of a registry.
type fetchedBlob struct{ *fetch.Blob }

// Range implements Blob.
func (b fetchedBlob) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	r, err := b.Blob.Range(ctx, off, n)
	if err != nil {
		return nil, err // and no *fetch.Reader that is nil
	}
	return r, nil
}
