package layer

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
)

// resume imports the blob of i, whose beginning the store has if an earlier import was
// interrupted. What it fetches is kept until the layer is in the store, or nobody asks for it
// for a day: see store.Partial.
func (m *imports) resume(i *importing, logger *log.Entry) (*index.Imported, *store.Filling, error) {
	part, err := m.set.store.Partial(i.ctx, i.src.Digest)
	if err != nil {
		return nil, nil, err
	}
	kept := part.Size()
	if kept > 0 {
		logger.WithField("kept", kept).Info("layer is imported from where an earlier import was interrupted")
	}
	got, filling, err := m.importFrom(i, part)
	if kept > 0 && errors.Is(err, ErrInvalid) {
		logger.WithError(err).Warn("what was kept of an earlier import is not used")
		part.Clear()
		got, filling, err = m.importFrom(i, part)
	}
	if ended := endPartial(part, err); ended != nil {
		logger.WithError(ended).Warn("what an import has fetched is not kept")
	}
	return got, filling, err
}

// endPartial keeps what was fetched, unless that has failed for reasons of its own.
func endPartial(part *store.Partial, err error) error {
	if err == nil || isRegistry(err) || isCancelled(err) {
		return part.Keep()
	}
	return part.Remove()
}

// importFrom imports the blob of i into a new data file.
func (m *imports) importFrom(i *importing, part *store.Partial) (*index.Imported, *store.Filling, error) {
	filling, err := m.set.store.NewFilling()
	if err != nil {
		return nil, nil, err
	}
	i.fetched.Store(0)
	got, err := i.read(newImportBody(i, m.set.fetch.Blob(i.src), part), filling)
	if err != nil {
		return nil, nil, errors.Join(err, filling.Abandon())
	}
	return got, filling, nil
}

// importBody is the blob: what is kept of it, and then what is fetched, which is kept, too. It
// counts its bytes and keeps its first error.
type importBody struct {
	*fetch.Whole // from the end of what is kept
	i            *importing
	part         *store.Partial
	kept, read   int64 // bytes
	err          error
}

func newImportBody(i *importing, blob *fetch.Blob, part *store.Partial) *importBody {
	kept := part.Size()
	if kept > i.size {
		part.Clear() // it is not of this blob
		kept = 0
	}
	return &importBody{Whole: blob.WholeFrom(i.ctx, kept, i.size), i: i, part: part, kept: kept}
}

func (b *importBody) Read(p []byte) (n int, err error) {
	if b.read < b.kept {
		n, err = b.part.ReadAt(p[:min(int64(len(p)), b.kept-b.read)], b.read)
		if n > 0 {
			err = nil
		} else if err != nil {
			err = fmt.Errorf("%w: what is kept of it: %w", ErrInvalid, err)
		}
	} else {
		n, err = b.Whole.Read(p)
		b.part.Append(p[:n])
	}
	b.read += int64(n)
	b.i.fetched.Add(int64(n))
	if err != nil && (!errors.Is(err, io.EOF) || errors.Is(err, ErrInvalid)) && !errors.Is(err, io.ErrClosedPipe) && b.err == nil {
		b.err = err
	}
	return n, err
}

// forgetPartial removes what was fetched of a blob: its layer is in the store, or not to be had.
func (s *Set) forgetPartial(blob digest.Digest) {
	if err := s.store.RemovePartial(blob); err != nil {
		log.G(s.ctx).WithError(err).WithField("layer", blob).Warn("what an import has fetched is not removed")
	}
}

// sweepEvery is how often it is looked for what was fetched and is not asked for again.
const sweepEvery = time.Hour

// sweepPartials removes, now and then, what was fetched and is not asked for again.
func (s *Set) sweepPartials() {
	for s.pause(sweepEvery) {
		s.store.SweepPartials(s.ctx)
	}
}
