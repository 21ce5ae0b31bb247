package layer

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/index"
)

// Blob is a blob of which ranges can be read.
type Blob interface {
	// Tail returns the last n bytes, or all of a shorter blob, and the blob's size
	// in bytes.
	Tail(ctx context.Context, n int64) (tail []byte, size int64, err error)

	// Range returns a reader of exactly the n bytes at off, which the caller closes.
	Range(ctx context.Context, off, n int64) (io.ReadCloser, error)
}

// ExternalTOC opens the compressed TOC of a layer that has it outside of its blob, and
// returns it with its size in bytes. The caller closes it.
type ExternalTOC func(context.Context) (toc io.ReadCloser, size int64, err error)

// Examiner reads the indexes of layers as a Set does, and stores nothing. The memory of
// the TOCs that are parsed at the same time is bounded as that of a Set. It may be used
// concurrently.
type Examiner struct{ parsing *semaphore.Weighted }

// NewExaminer returns an Examiner.
func NewExaminer() *Examiner { return &Examiner{semaphore.NewWeighted(parseMemory)} }

// Examined is what a blob says about itself.
type Examined struct {
	*index.Index
	TOCSize  int64 // bytes of the compressed TOC
	External bool  // the TOC is not in the blob
}

// Examine reads the index of a blob. Nothing is verified: see Verify. An error matches
// ErrNotLazy or ErrInvalid, or is one of blob or external, or the cause of ctx's end.
func (e *Examiner) Examine(ctx context.Context, blob Blob, external ExternalTOC) (Examined, error) {
	end, err := endOf(ctx, blob)
	if err != nil {
		return Examined{}, err
	}
	t, err := findTOC(ctx, end, external)
	if err != nil {
		return Examined{}, err
	}
	defer t.Close()
	n := min(index.Memory(t.size), parseMemory)
	if err := e.parsing.Acquire(ctx, n); err != nil {
		return Examined{}, context.Cause(ctx)
	}
	defer e.parsing.Release(n)
	idx, err := parse(t, t.footer)
	if err != nil {
		return Examined{}, err
	}
	return Examined{Index: idx, TOCSize: t.size, External: t.footer.TOCOffset < 0}, nil
}

// Verify compares the index of the layer blob with what manifest, that of its image, says
// about it. An error matches ErrUnverified: a Set does not open such a layer.
func (x Examined) Verify(manifest []byte, blob digest.Digest) error {
	claim, err := claimOf(manifest, blob)
	if err != nil {
		return err
	}
	return checkDigests(claim, x.TOCDigest, x.CompressedTOCDigest)
}
