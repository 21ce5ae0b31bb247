package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// made is what an import has made: a layer with all its bytes, which is not yet in the
// store. The blob has the digest that it was asked for.
type made struct {
	filling *store.Filling // nil when it was added
	diffID  digest.Digest  // of the uncompressed tar
	content store.Content  // without the fields that depend on a Request
}

// importProgress is how often the log says how far an import is.
const importProgress = 10 * time.Second

// takes reports whether the layer of req may be imported: only a layer of which req can
// tell that it is the right one.
func (m *imports) takes(req Request) bool { return m.set.opts.Importing.Enable && req.Proves != nil }

// importable reports whether a layer of size bytes that cannot be read lazily because of err
// can be imported instead: it has no index, one that breaks the rules or cannot be verified
// against the image, or its registry serves no ranges.
func importable(err error, size int64) bool {
	return errors.Is(err, ErrNotLazy) || errors.Is(err, ErrUnverified) || errors.Is(err, ErrInvalid) ||
		errors.Is(err, fetch.ErrNoRanges) && size > 0
}

// open imports the layer of req, whose blob has size bytes, or waits for the import that is
// in progress, and adds it to the store.
func (m *imports) open(ctx context.Context, req Request, size int64) (store.ID, error) {
	if req.Importing != nil {
		req.Importing()
	}
	for {
		i := m.join(req.Source, size)
		err := i.wait(ctx)
		var id store.ID
		if err == nil {
			id, err = m.added(i, req)
		}
		m.leave(i)
		if err == nil || ctx.Err() != nil || i.src == req.Source || !isRegistry(err) && !errors.Is(err, errUnwanted) {
			return id, err
		}
		// The import of another image failed, whose registry is not that of req; or
		// it ended while this Open came.
	}
}

// isRegistry reports whether err is an error of a registry.
func isRegistry(err error) bool {
	for _, kind := range []error{fetch.ErrNotFound, fetch.ErrUnauthorized, fetch.ErrUnavailable, fetch.ErrNoRanges} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// added adds what i has made to the store, unless another Open has done so.
func (m *imports) added(i *importing, req Request) (store.ID, error) {
	a := &i.added
	a.Lock()
	defer a.Unlock()
	if !req.Proves(i.made.diffID) {
		err := otherDiffID(i.made.diffID)
		m.failed(i, err)
		m.set.forgetPartial(i.src.Digest)
		return store.ID{}, err
	}
	if !a.done {
		a.id, a.err = m.addToStore(i, req)
		a.done = true
	}
	if a.err != nil {
		return store.ID{}, a.err
	}
	return a.id, m.set.record(a.id, req)
}

// otherDiffID is the error of a layer whose diffID is not the one that is asked for.
func otherDiffID(diffID digest.Digest) error {
	return fmt.Errorf("%w: the blob is a tar with the digest %s, which is not what the image says", ErrUnverified, diffID)
}

func (m *imports) addToStore(i *importing, req Request) (store.ID, error) {
	id := store.Imported(i.src.Digest, i.made.diffID)
	content := i.made.content
	content.Sources, content.DiffID = []string{req.Source.Ref}, i.made.diffID
	data, err := i.made.filling.Add(id, content)
	m.spent(i)
	if err != nil {
		return store.ID{}, err
	}
	m.set.forgetPartial(i.src.Digest)
	return id, errors.Join(m.set.linger(id), data.Close())
}

// spent records that what i has made is in the store, or is lost.
func (m *imports) spent(i *importing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i.made = &made{diffID: i.made.diffID}
	if m.mu.all[i.src.Digest] == i {
		delete(m.mu.all, i.src.Digest)
	}
}

// record records that req's image has the layer id.
func (s *Set) record(id store.ID, req Request) error {
	l, err := s.Layer(id)
	if err != nil {
		return err
	}
	return errors.Join(s.opened(l, req), l.Close())
}

// lingering is how long a layer stays open after its import: the kernel writes it to disk
// meanwhile, so that nobody waits for that at the last Close.
const lingering = 30 * time.Second

func (s *Set) linger(id store.ID) error {
	l, err := s.Layer(id)
	if err != nil {
		return err
	}
	s.background(l, "", func() error { s.pause(lingering); return nil })
	return l.Close()
}

// importBlob imports the blob of i. What an earlier import has fetched of it is not fetched
// again.
func (m *imports) importBlob(i *importing) (*made, error) {
	if err := m.slots.acquire(i); err != nil {
		return nil, err
	}
	defer m.slots.release()
	m.set.opts.Imports.Running(1)
	defer m.set.opts.Imports.Running(-1)
	logger := log.G(i.ctx).WithField("image", i.src.Ref).WithField("layer", i.src.Digest).WithField("size", i.size)
	started := time.Now()
	i.began.Store(&started)
	defer i.report(logger)()
	got, filling, err := m.resume(i, logger)
	if err != nil {
		return nil, err
	}
	m.set.caches.addTree(store.Imported(got.Blob, got.DiffID), got.Root)
	logger.WithField("took", time.Since(started).Round(time.Millisecond)).Info("layer is imported")
	content := encode(got.Index).content
	if !i.rangeless {
		content.BlobSize = i.size // the index is kept when the layer is removed
	}
	return &made{filling, got.DiffID, content}, nil
}

// report logs the progress of the import until stop is called.
func (i *importing) report(logger *log.Entry) (stop func()) {
	ended := make(chan struct{})
	go func() {
		ticker := time.NewTicker(importProgress)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				logger.WithField("fetched", i.fetched.Load()).Info("layer is being imported")
			case <-ended:
				return
			}
		}
	}()
	return func() { close(ended) }
}

// read reads the whole blob into data, and compares its digest.
func (i *importing) read(body *importBody, data io.WriterAt) (*index.Imported, error) {
	out := &importData{data: data}
	got, err := index.Import(i.ctx, body, out)
	i.rangeless = body.Rangeless()
	switch {
	case i.ctx.Err() != nil:
		return nil, context.Cause(i.ctx)
	case out.err != nil:
		return nil, out.err
	case body.err != nil:
		return nil, body.err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	case got.Blob != i.src.Digest:
		return nil, fmt.Errorf("%w: the blob has digest %s", ErrInvalid, got.Blob)
	}
	return got, nil
}

// importData is the data file, which keeps its first error.
type importData struct {
	data io.WriterAt
	err  error
}

func (d *importData) WriteAt(p []byte, off int64) (int, error) {
	n, err := d.data.WriteAt(p, off)
	if err != nil {
		d.err = err
	}
	return n, err
}

// outcomeOf returns the metric of an import that ended with err.
func outcomeOf(err error) metrics.Import {
	switch {
	case err == nil:
		return metrics.ImportDone
	case isCancelled(err):
		return metrics.ImportCancelled
	}
	return metrics.ImportFailed
}

// isCancelled reports whether an import that ended with err was cancelled, by its readers or
// by the end of the set.
func isCancelled(err error) bool {
	return errors.Is(err, errUnwanted) || errors.Is(err, context.Canceled)
}
