package index

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// ImportMemory is a bound in bytes for the memory of an import's index. Besides it takes
// about 7 MB, and for gzip its points (see the documentation of the package), for zstd the
// window of its frames, 128 MiB at most.
const ImportMemory = 256 << 20

// Imported is what a whole blob has turned out to be.
type Imported struct {
	*Index
	Blob   digest.Digest // of the blob
	DiffID digest.Digest // of the uncompressed tar
}

// Import reads a blob that has no table of contents to its end: a tar, compressed with
// gzip or zstd or not at all. It writes the contents of its files to data, from the start
// of the data file to its end without gaps, and returns the index that a TOC of that tar
// would be, but for what is eStargz's own: its landmarks and its TOC are files like others.
//
// It ends with ctx, and closes blob: a Read of blob in progress must then return. The caller
// compares the digests with what it trusts before it uses anything of the index or of data.
func Import(ctx context.Context, blob io.ReadCloser, data io.WriterAt) (*Imported, error) {
	blobSum := sha256.New()
	source := &counter{r: io.TeeReader(blob, blobSum)}
	u := newUnpacker(source)
	tarSum := blobSum
	var tarHash io.Writer = io.Discard // the blob is the tar, and is hashed as it comes
	if u.compression != Plain {
		tarSum = sha256.New()
		tarHash = tarSum
	}
	p := newPipeline(u, tarHash)
	in := &tarInput{tar: p, p: p}
	t := &tarFile{
		ctx: ctx, x: newExtraction(0, &budget{limit: func() int64 { return min(source.memory(), ImportMemory) }}),
		in: in, reader: tar.NewReader(in), out: newDataWriter(data),
	}
	err := t.readAll()
	if closed := blob.Close(); err == nil {
		err = closed
	}
	p.stop()
	if err != nil {
		return nil, fmt.Errorf("%s layer: %w", u.compression, err)
	}
	x, err := t.index(u)
	if err != nil {
		return nil, fmt.Errorf("%s layer: %w", u.compression, err)
	}
	return &Imported{x, digest.NewDigest(digest.SHA256, blobSum), digest.NewDigest(digest.SHA256, tarSum)}, nil
}
