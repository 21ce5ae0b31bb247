package layer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// Request asks for a layer as an image names it.
type Request struct {
	Source   fetch.Source
	TOC      digest.Digest   // of the uncompressed TOC, from the image's manifest; empty if it names none
	Manifest digest.Digest   // of the image's manifest; empty if unknown
	Siblings []digest.Digest // blobs of the same image that are likely to be asked for next
	DiffID   digest.Digest   // as claimed by the image; empty if unknown
}

// Open makes the layer that req asks for ready to be read and returns its
// identity: its index is verified and in the store. It opens the siblings, too,
// in the background. Without network it succeeds if the store has the layer.
//
// An error matches one of ErrNotLazy, ErrUnverified and ErrInvalid, or is one
// of package fetch, of the store, or the cause of ctx's end.
func (s *Set) Open(ctx context.Context, req Request) (store.ID, error) {
	id, how, err := s.open(ctx, req)
	if err != nil {
		how, err = outcome(err), fmt.Errorf("open layer: %w", err)
	}
	s.opts.Layers.Opened(how)
	return id, err
}

func (s *Set) open(ctx context.Context, req Request) (store.ID, metrics.Opened, error) {
	s.openAhead(req)
	if req.TOC != "" {
		if l, err := s.stored(store.ID{Blob: req.Source.Digest, TOC: req.TOC}); err == nil {
			return l.ID(), metrics.OpenedStored, errors.Join(s.reopened(l, req), l.Close())
		}
	}
	o := s.opening(req.Source, false)
	claim, unclaimed := s.expect(ctx, req)
	idx, err := o.wait(ctx)
	if err != nil && o.ahead && ctx.Err() == nil && (req.TOC != "" || !errors.Is(err, ErrNotLazy)) {
		// What failed was begun before anybody asked. That a blob has no index
		// is believed if the image names none.
		s.forget(req.Source, o)
		o = s.opening(req.Source, false)
		idx, err = o.wait(ctx)
	}
	if err == nil {
		err = unclaimed // what the blob is matters more
	}
	if err == nil {
		err = check(claim, idx)
	}
	var id store.ID
	if err == nil {
		id, err = s.add(req, idx)
	}
	if o.ended() {
		s.used(req.Source, o, err)
	}
	return id, metrics.OpenedFetched, err
}

// stored is Layer for a layer that was not found damaged.
func (s *Set) stored(id store.ID) (*Layer, error) {
	l, err := s.Layer(id)
	if err == nil && !l.data.IsStored() {
		return nil, errors.Join(store.ErrNotFound, l.Close())
	}
	return l, err
}

// openAhead starts to open the siblings that the store does not have.
func (s *Set) openAhead(req Request) {
	if len(req.Siblings) == 0 {
		return
	}
	have := map[digest.Digest]bool{req.Source.Digest: true}
	for _, id := range s.store.Layers() {
		have[id.Blob] = true
	}
	for _, blob := range req.Siblings {
		if !have[blob] {
			s.opening(fetch.Source{Ref: req.Source.Ref, Digest: blob}, true)
		}
	}
}

// add puts a verified index into the store. Who adds the same at the same time
// waits for the first.
func (s *Set) add(req Request, idx *encoded) (store.ID, error) {
	id := store.ID{Blob: req.Source.Digest, TOC: idx.toc}
	_, err, _ := s.once.add.Do(flight(id), func() (any, error) { return nil, s.keep(id, req, idx) })
	if err != nil {
		return store.ID{}, err
	}
	l, err := s.Layer(id)
	if err != nil {
		return store.ID{}, err
	}
	if !s.opts.NoPrefetch {
		// Who runs something over the layer soon wants them at once.
		s.background(l, func() error { _, err := l.files(); return err })
	}
	return id, errors.Join(s.reopened(l, req), l.Close())
}

// keep puts an index into the store if it has it not.
func (s *Set) keep(id store.ID, req Request, idx *encoded) error {
	if data, err := s.store.Layer(id); err == nil {
		return data.Close()
	}
	content := idx.content
	content.Sources, content.DiffID = []string{req.Source.Ref}, req.DiffID
	data, err := s.store.Add(id, content)
	if err != nil {
		return err
	}
	return data.Close()
}

// reopened notes that req's image has the blob of l and prefetches what is absent
// of what is needed first.
func (s *Set) reopened(l *Layer, req Request) error {
	s.addSource(l, req.Source.Ref)
	if !s.opts.NoPrefetch && !l.data.Full() {
		s.background(l, func() error { return l.prefetch(s.opts.PrefetchSize) })
	}
	err := l.data.AddSource(req.Source.Ref)
	if durable.NoSpace(err) {
		log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("an image of the layer is not remembered")
		return nil
	}
	return err
}

// opening is an index that is being fetched.
type opening struct {
	ahead bool          // it was started before the layer was asked for
	done  chan struct{} // closed when the fields below are set
	idx   *encoded
	err   error
}

// How long an index is kept: one that was fetched ahead, and one whose layer is
// in the store. That a blob has none is kept as long as an index; any other error
// is forgotten when those who wait have it.
const (
	openingKept   = time.Minute
	openingShared = time.Second
)

// opening returns the opening of src, starting one, ahead or not, if there is none.
func (s *Set) opening(src fetch.Source, ahead bool) *opening {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.mu.openings[src]; o != nil {
		return o
	}
	o := &opening{ahead: ahead, done: make(chan struct{})}
	started := s.goLocked(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.OpenTimeout)
		defer cancel()
		o.idx, o.err = s.readIndex(ctx, src)
		if o.err != nil && !errors.Is(o.err, ErrNotLazy) {
			s.forget(src, o)
		}
		close(o.done)
		time.AfterFunc(openingKept, func() { s.forget(src, o) })
	})
	if !started {
		o.err = errClosed
		close(o.done)
		return o
	}
	s.mu.openings[src] = o
	return o
}

// wait returns when o has ended, or ctx.
func (o *opening) wait(ctx context.Context) (*encoded, error) {
	select {
	case <-o.done:
		return o.idx, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (o *opening) ended() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// used says that an Open of src has used o, and how it ended. After a failure the
// next one starts anew; else those who just missed the layer in the store are
// still to find the index.
func (s *Set) used(src fetch.Source, o *opening, err error) {
	if err != nil {
		s.forget(src, o)
		return
	}
	time.AfterFunc(openingShared, func() { s.forget(src, o) })
}

func (s *Set) forget(src fetch.Source, o *opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.openings[src] == o {
		delete(s.mu.openings, src)
	}
}
