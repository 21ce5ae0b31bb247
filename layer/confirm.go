package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
)

// A layer whose index is not that of its blob's author is confirmed once: its blob is read
// whole, as for an import, and blob, diffID, tree, and the contents of each chunk are compared
// with what the index says. The bytes that pass fill the layer, so that this takes the place of
// filling it in the background, and only what readers have fetched before comes twice.

// confirmedChunk is the size in bytes of the largest chunk that is filled while a layer is
// confirmed: it is in memory as a whole. Chunks of documents that ladle makes are smaller.
const confirmedChunk = 4 << 20

// isUnconfirmed reports whether l has to be confirmed.
func (l *Layer) isUnconfirmed() bool { return l.ID().Indexed() != "" && !l.proof.known.isKnown() }

// hasWork reports whether there is something to do for l in the background, before it is proved.
func (l *Layer) hasWork() bool {
	if l.isUnconfirmed() {
		return l.data.Full() || !l.set.opts.NoFill
	}
	return !l.data.Full() && !l.set.opts.NoFill
}

// wrongIndex is the error of an index that is not that of the blob.
type wrongIndex struct {
	error
	diffID digest.Digest // that of the blob; may be empty
}

// confirm confirms l. If its index is wrong, l is taken out of service, and the document is not
// used again. If polite is set, it goes on only while no reader waits, and somebody else has l.
func (l *Layer) confirm(polite bool) error {
	diffID, err := l.compare(polite)
	var wrong wrongIndex
	switch {
	case err == nil:
		return l.provedAs(l.ctx, diffID)
	case !errors.As(err, &wrong):
		return err
	}
	document := l.ID().Indexed()
	l.set.imports.attached.refuse(document, wrong.error)
	return l.refuted(wrong.diffID, fmt.Errorf("the index %s is not that of the layer: %w", document, wrong.error))
}

// compare reads the whole blob, and compares. It returns the blob's diffID.
func (l *Layer) compare(polite bool) (digest.Digest, error) {
	blobs := l.sources.blobs()
	if len(blobs) == 0 {
		return "", errNoSource
	}
	body := l.politeBody(blobs[0], polite)
	var blob io.ReadCloser = body
	data := &comparedData{layer: l, sum: sha256.New()}
	if l.table.SealsStreams() {
		spans := newSpanSums(l, body)
		blob, data.sums = spans, spans.sums
	}
	got, err := index.Import(l.ctx, blob, data)
	switch {
	case l.ctx.Err() != nil:
		return "", context.Cause(l.ctx)
	case body.err != nil:
		return "", body.err
	case err != nil:
		return "", l.compareBlob(blobs[0], polite, err)
	case got.Blob != l.ID().Blob:
		return "", fmt.Errorf("%w: the blob has digest %s", errWrongBytes, got.Blob)
	case data.wrong != nil:
		return "", wrongIndex{data.wrong, got.DiffID}
	}
	return got.DiffID, l.compareIndex(got)
}

// compareBlob returns why the index is wrong of a blob that is no layer, if the registry has
// not just sent another blob.
func (l *Layer) compareBlob(blob *fetch.Blob, polite bool, why error) error {
	body := l.politeBody(blob, polite)
	sum := l.ID().Blob.Verifier()
	_, err := io.Copy(sum, body)
	if closed := body.Close(); err == nil {
		err = closed
	}
	switch {
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	case err != nil:
		return err
	case !sum.Verified():
		return fmt.Errorf("%w: %w", errWrongBytes, why)
	}
	return wrongIndex{why, ""}
}

// compareIndex compares what does not show in the contents. SOCI's indexes do not say a diffID.
func (l *Layer) compareIndex(got *index.Imported) error {
	switch {
	case got.DiffID != l.data.DiffID() && !l.table.SealsStreams():
		return wrongIndex{fmt.Errorf("the uncompressed blob has the digest %s, and not %s", got.DiffID, l.data.DiffID()), got.DiffID}
	case got.DataSize != l.DataSize():
		return wrongIndex{fmt.Errorf("the files have %d bytes, and not %d", got.DataSize, l.DataSize()), got.DiffID}
	}
	entries, err := l.data.Entries()
	if err != nil {
		return err
	}
	root, err := index.DecodeTree(entries)
	if err != nil {
		return err
	}
	// Encoded again, since an earlier version may have encoded what is stored.
	if !bytes.Equal(index.EncodeTree(root), index.EncodeTree(got.Root)) {
		return wrongIndex{errors.New("the tree is another one"), got.DiffID}
	}
	return nil
}

// politeBody is the blob. If polite is set it is read while no reader waits for anything.
type politeBody struct {
	*fetch.Whole
	layer  *Layer
	polite bool
	err    error
}

func (l *Layer) politeBody(blob *fetch.Blob, polite bool) *politeBody {
	return &politeBody{Whole: blob.Whole(l.ctx, l.data.BlobSize()), layer: l, polite: polite}
}

// errAlone is the error of a layer that nobody has open any more.
var errAlone = errors.New("nobody uses the layer any more")

func (b *politeBody) Read(p []byte) (int, error) {
	s := b.layer.set
	for b.polite && b.err == nil && !s.idle() {
		if !s.pause(s.opts.FillDelay) {
			b.err = errClosed
		} else if s.isAlone(b.layer) {
			b.err = errAlone
		}
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.Whole.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		b.err = err
	}
	return n, err
}

// isAlone reports whether the caller has the only reference to l.
func (s *Set) isAlone(l *Layer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.refs == 1
}

// comparedData is the data file of the blob, which is written from its start to its end. It
// compares the chunks, and fills those that are absent.
type comparedData struct {
	layer *Layer
	next  int // the chunk that is written, or the next one
	sum   hash.Hash
	sums  [][sha256.Size]byte // of the chunks, if the index does not say them
	chunk []byte              // its bytes so far, unless it is too large
	wrong error               // the first difference
}

// WriteAt implements io.WriterAt. It does not fail: what is wrong, is known at the end.
func (d *comparedData) WriteAt(p []byte, off int64) (int, error) {
	n := len(p)
	for len(p) > 0 && d.wrong == nil {
		gap, size := int64(len(p)), int64(0)
		c := index.Chunk{}
		if d.next < d.layer.table.Len() {
			c = d.layer.table.At(d.next)
			gap = min(gap, max(0, c.DataOffset-off))
			size = min(int64(len(p))-gap, c.DataOffset+c.Size-off-gap)
		}
		if !isZero(p[:gap]) {
			d.wrong = fmt.Errorf("the index has no chunk for bytes at %d of the files", off)
			break
		}
		if size > 0 {
			d.write(c, p[gap:gap+size], off+gap+size)
		}
		p, off = p[gap+size:], off+gap+size
	}
	return n, nil
}

// write takes bytes of c, up to the offset end.
func (d *comparedData) write(c index.Chunk, p []byte, end int64) {
	d.sum.Write(p)
	if c.Size <= confirmedChunk {
		d.chunk = append(d.chunk, p...)
	}
	if end < c.DataOffset+c.Size {
		return
	}
	want := c.Digest
	if d.sums != nil {
		want = d.sums[d.next]
	}
	if !bytes.Equal(d.sum.Sum(nil), want[:]) {
		d.wrong = fmt.Errorf("the bytes at %d of the files are not what the index says", c.DataOffset)
		return
	}
	if len(d.chunk) > 0 {
		d.fill(c)
	}
	d.next++
	d.sum.Reset()
	d.chunk = d.chunk[:0]
}

// fill stores the chunk if it is absent, and the disk takes it.
func (d *comparedData) fill(c index.Chunk) {
	l := d.layer
	if !l.isAbsent(d.next) || !l.set.disk.state().takesAhead() {
		return
	}
	if err := l.data.Fill(d.next, c.DataOffset, d.chunk); err != nil {
		l.set.disk.recordRefusal(err)
		return
	}
	l.set.opts.Chunks.Verified(c.Size)
}

// confirmOne confirms l, for the filler.
func (s *Set) confirmOne(l *Layer) {
	err := l.confirm(true)
	if err == nil {
		// The chunks may never be read: free the page cache.
		err = l.data.DropCache(0, 0)
	}
	if err == nil || errors.Is(err, errAlone) || s.ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	l.filling.after = time.Now().Add(s.opts.FillRetry)
	s.mu.Unlock()
	log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("the index of a layer could not be confirmed yet")
}

// isZero reports whether all bytes of p are zero.
func isZero(p []byte) bool { return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) }
