package index

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/tree"
)

// ErrNoTOC is returned for a blob that is in no lazily readable format.
var ErrNoTOC = errors.New("no table of contents")

// Index is what a layer's table of contents says.
type Index struct {
	Root     *tree.Inode // whiteouts and opaque marks in the form of package tree
	Chunks   []Chunk     // by DataOffset; chunks that hold only zeros are left out
	DataSize int64       // bytes of the data file, a multiple of tree.BlockSize
	// TOCDigest is the digest of the uncompressed TOC, as eStargz has it in
	// its annotation; CompressedTOCDigest is that of its compressed bytes, as
	// zstd:chunked has it.
	TOCDigest, CompressedTOCDigest digest.Digest
	Compression                    Compression
	// Points is the list of an inflate.Encoder. Its points are where streams of the
	// Compressions Points and Spans begin; others have none.
	Points []byte
	// PrefetchSize is how many bytes from the start of the blob the image's
	// author wants fetched first: those before the prefetch landmark.
	PrefetchSize int64
}

// Chunk says where Size bytes of a data file come from.
//
// The chunks of an index are in one order in the data file and in the blob:
// streams do not overlap, but for Spans, nor do the chunks within a stream.
type Chunk struct {
	DataOffset  int64             // bytes from the start of the data file
	Size        int64             // bytes, uncompressed; at most MaxChunkSize
	BlobOffset  int64             // where the compressed stream starts in the blob
	BlobEnd     int64             // no byte of the stream lies at or behind it
	InnerOffset int64             // bytes into the decompressed stream
	Digest      [sha256.Size]byte // of the Size bytes; for Spans see there
}

// MaxChunkSize is the size in bytes of the largest chunk. Whoever verifies a
// chunk holds it in memory.
const MaxChunkSize = 64 << 20

// Parse reads the compressed TOC of the blob that footer describes, to its end
// and as it comes. It takes no more memory than Memory allows; a TOC that wants
// more is refused. The caller compares one of the digests in the index with what
// it trusts before it uses anything else of it.
func Parse(toc io.Reader, footer Footer) (*Index, error) {
	sum := sha256.New()
	fetched := &counter{r: io.TeeReader(&meter{r: toc, limit: maxTOC + 1}, sum)}
	x := newExtraction(footer.PayloadSize, &budget{limit: fetched.memory})
	tocDigest, err := readTOC(fetched, footer.Compression, x.memory, x.add)
	if err == nil {
		_, err = io.Copy(io.Discard, fetched)
	}
	if err != nil {
		return nil, fmt.Errorf("table of contents: %w", err)
	}
	index, err := x.finish()
	if err != nil {
		return nil, fmt.Errorf("table of contents: %w", err)
	}
	index.TOCDigest = tocDigest
	index.CompressedTOCDigest = digest.NewDigest(digest.SHA256, sum)
	index.Compression = footer.Compression
	return index, nil
}
