package convert

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// built is a converted layer in temporary files.
type built struct {
	files       []*os.File // parts, in order
	toc         []byte     // TOC and footer
	size        int64      // bytes of the blob
	digest      digest.Digest
	diffID      digest.Digest
	tarSize     int64 // bytes of the tar
	annotations map[string]string
	prioritized int // entries before the landmark
}

// Close removes the files.
func (b *built) Close() (err error) {
	for _, f := range b.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// open returns a reader of the blob.
func (b *built) open(context.Context) (io.ReadCloser, error) {
	var all []io.Reader
	for _, f := range b.files {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		all = append(all, io.NewSectionReader(f, 0, info.Size()))
	}
	return io.NopCloser(io.MultiReader(append(all, bytes.NewReader(b.toc))...)), nil
}

// builder makes blobs of one format.
type builder struct {
	format Format
	paths  []string            // to prefetch
	cpus   *semaphore.Weighted // parts that are compressed at the same time
}

// build makes the blob of a layer. The caller closes it. written is called with numbers of
// bytes of the tar that are done.
func (b *builder) build(ctx context.Context, s *spooled, written func(int)) (_ *built, err error) {
	pieces, first, err := b.pieces(s)
	if err != nil {
		return nil, err
	}
	parts := cut(pieces)
	out := &built{files: make([]*os.File, len(parts)), prioritized: first}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close())
		}
	}()
	done := make([]*partWriter, len(parts))
	diffID := sha256.New()
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return b.hash(ctx, diffID, parts, s.file) })
	for i, p := range parts {
		if err := b.cpus.Acquire(ctx, 1); err != nil {
			break // what failed is the error of the group
		}
		work.Go(func() (err error) {
			defer b.cpus.Release(1)
			if out.files[i], err = unnamed(); err != nil {
				return err
			}
			done[i], err = b.compress(ctx, out.files[i], p.open(s.file), written)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	if err := parentError(ctx, done); err != nil {
		return nil, err
	}
	return out, b.finish(out, done, diffID)
}

// parentError is the error of a context that ended before all parts were begun.
func parentError(ctx context.Context, done []*partWriter) error {
	for _, p := range done {
		if p == nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// pieces returns the tar of the result, and the number of entries to prefetch.
func (b *builder) pieces(s *spooled) ([]piece, int, error) {
	entries, first := order(s.entries, b.paths)
	var all []piece
	for _, e := range entries {
		all = append(all, piece{start: e.start, end: e.end, sparse: e.sparse})
	}
	if first > 0 || b.format == EStargz {
		mark, err := landmark(first > 0)
		if err != nil {
			return nil, 0, err
		}
		all = slices.Insert(all, first, piece{bytes: mark})
	}
	if b.format == ZstdChunked { // the end of the tar; that of eStargz comes with the TOC
		var end int64
		if n := len(s.entries); n > 0 {
			end = s.entries[n-1].end
		}
		if s.size > end {
			all = append(all, piece{start: end, end: s.size})
		}
	}
	return all, first, nil
}

// landmark returns the entry behind what is to be prefetched; or that which says that
// nothing is.
func landmark(prefetch bool) ([]byte, error) {
	const content = "\x0f" // of both (eStargz specification, "Prefetch landmark")
	h := tar.Header{Typeflag: tar.TypeReg, Name: estargz.NoPrefetchLandmark, Size: int64(len(content))}
	if prefetch {
		h.Name = estargz.PrefetchLandmark
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&h); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, content); err != nil {
		return nil, err
	}
	err := w.Flush() // padding, and no end of the tar
	return out.Bytes(), err
}

// hash hashes the tar of the parts.
func (b *builder) hash(ctx context.Context, sum hash.Hash, parts []part, file *os.File) error {
	for _, p := range parts {
		r := p.open(file)
		_, err := io.Copy(sum, &watched{ctx: ctx, r: r, read: func(int) {}})
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// compress compresses a part and closes it.
func (b *builder) compress(ctx context.Context, to io.Writer, in io.ReadCloser, written func(int)) (_ *partWriter, err error) {
	defer func() { err = errors.Join(err, in.Close()) }()
	from := &counter{r: &watched{ctx: ctx, r: in, read: written}}
	p := &partWriter{format: b.format}
	start := make([]byte, len(gzipMagic))
	n, err := io.ReadFull(from, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if bytes.Equal(start, gzipMagic) {
		return nil, errors.New("tar: the name of an entry starts as a gzip stream does") // estargz would decompress it
	}
	w := estargz.NewWriterWithCompressor(to, p)
	if err := w.AppendTarLossLess(io.MultiReader(bytes.NewReader(start[:n]), from)); err != nil {
		return nil, err
	}
	if _, err := w.Close(); err != nil {
		return nil, err
	}
	if p.n != from.n {
		return nil, fmt.Errorf("tar: %d bytes were read, and %d written", from.n, p.n)
	}
	return p, nil
}

// finish makes one blob of the parts.
func (b *builder) finish(out *built, done []*partWriter, diffID hash.Hash) (err error) {
	toc := &estargz.JTOC{Version: 1}
	var payload int64
	for _, p := range done {
		for _, e := range p.toc.Entries {
			if e.Type == "reg" && e.Size > 0 || e.Type == "chunk" {
				e.Offset += payload
			}
			toc.Entries = append(toc.Entries, e)
		}
		payload += p.size
		out.tarSize += p.n
	}
	var end bytes.Buffer
	counted := &counting{Hash: diffID}
	if out.annotations, err = b.format.writeTOC(&end, payload, toc, counted); err != nil {
		return err
	}
	out.toc, out.size = end.Bytes(), payload+int64(end.Len())
	out.tarSize += counted.n
	out.diffID = digest.NewDigest(digest.SHA256, diffID)
	all, err := out.open(context.Background()) // local files, which have no context
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, all)
	if err == nil && n != out.size {
		err = fmt.Errorf("blob of %d bytes, and not %d", n, out.size)
	}
	out.digest = digest.NewDigest(digest.SHA256, sum)
	return err
}

// counting counts the bytes that are hashed.
type counting struct {
	hash.Hash
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}
