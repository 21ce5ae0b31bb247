package layer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// Request is the request to open a layer of an image.
type Request struct {
	Source   fetch.Source
	TOC      digest.Digest   // of the uncompressed TOC, from the image's manifest; empty: none
	Manifest digest.Digest   // of the image's manifest; empty if unknown
	Siblings []digest.Digest // blobs of the same image that are likely to be opened next
	DiffID   digest.Digest   // as claimed by the image; empty if unknown

	// Proves reports whether a layer with this diffID is the one that is asked for. Only
	// such a layer is imported. Nil: that cannot be told.
	Proves func(diffID digest.Digest) bool
	// Importing is called before Open waits for an import, which takes as long as the
	// blob takes to fetch. May be nil.
	Importing func()
}

// Open stores the verified index of a layer, so that it can be read, and returns the
// layer's identity. A layer without an index that can be used, whose diffID req can tell to be
// right, is opened with the index that was kept of an import, or else imported whole: see
// importable. Open opens the siblings in the background. It needs no network if the store has
// the layer.
//
// An error matches one of ErrNotLazy, ErrUnverified and ErrInvalid, or is one of package
// fetch, of the store, or the cause of ctx's end.
func (s *Set) Open(ctx context.Context, req Request) (store.ID, error) {
	id, how, err := s.open(ctx, req)
	if err != nil {
		how, err = outcome(err), fmt.Errorf("open layer: %w", err)
	}
	s.opts.Layers.Opened(how)
	return id, err
}

func (s *Set) open(ctx context.Context, req Request) (store.ID, metrics.Opened, error) {
	leave := s.imports.enter(req.Source.Ref)
	defer func() { leave(ctx) }()
	s.openAhead(req)
	id, err := s.openStored(req)
	if !errors.Is(err, store.ErrNotFound) {
		return id, metrics.OpenedStored, err
	}
	if wanted := (store.ID{TOC: req.TOC}).Imported(); wanted != "" {
		req.TOC, req.Manifest, req.Proves = "", "", func(diffID digest.Digest) bool { return diffID == wanted }
	}
	if id, err := s.openKept(ctx, req); !errors.Is(err, store.ErrNotFound) {
		return id, metrics.OpenedKept, err
	}
	if document := (store.ID{TOC: req.TOC}).Indexed(); document != "" {
		id, err := s.imports.attached.openAgain(ctx, req, document)
		return id, metrics.OpenedFetched, err
	}
	s.imports.attached.ahead(req)
	o := s.opening(req.Source, false)
	claim, unclaimed := s.expect(ctx, req)
	idx, err := o.wait(ctx)
	if err != nil && o.ahead && ctx.Err() == nil && (req.TOC != "" || !errors.Is(err, ErrNotLazy)) {
		// The failed opening was started ahead: try again. ErrNotLazy is final if the
		// request has no TOC.
		s.forget(req.Source, o)
		o = s.opening(req.Source, false)
		idx, err = o.wait(ctx)
	}
	if err == nil {
		err = unclaimed // an error of the blob takes precedence
	}
	if err == nil {
		err = check(claim, idx)
	}
	if importable(err, o.size) && s.imports.takes(req) {
		if !errors.Is(err, fetch.ErrNoRanges) {
			if id, err := s.openAttached(ctx, req, o.size); err == nil {
				return id, metrics.OpenedFetched, nil
			}
		}
		if !errors.Is(err, ErrNotLazy) {
			log.G(ctx).WithError(err).WithField("layer", req.Source.Digest).Info("the layer cannot be read lazily, and is imported")
		}
		id, err := s.imports.open(ctx, req, o.size)
		return id, metrics.OpenedImported, err
	}
	if err == nil {
		id, err = s.add(store.ID{Blob: req.Source.Digest, TOC: idx.toc}, req, idx)
	}
	if o.hasEnded() {
		s.consumed(req.Source, o, err)
	}
	return id, metrics.OpenedFetched, err
}

// openStored is open for a layer that the store has, and else store.ErrNotFound.
func (s *Set) openStored(req Request) (store.ID, error) {
	for _, id := range s.candidates(req) {
		if err := refutes(s.store.Proof(id), req); err != nil {
			return store.ID{}, err
		}
		l, err := s.stored(id)
		if err == nil {
			return id, errors.Join(s.opened(l, req), l.Close())
		}
	}
	return store.ID{}, store.ErrNotFound
}

// refutes returns an error if a layer's proof says that it is not the one that req asks for.
func refutes(p store.Proof, req Request) error {
	switch {
	case p.Wrong != "":
		return fmt.Errorf("%w: %w: %s", ErrInvalid, ErrWrong, p.Wrong)
	case p.DiffID != "" && req.Proves != nil && !req.Proves(p.DiffID):
		return fmt.Errorf("%w: the layer's tar is %s, which is not what the image says", ErrUnverified, p.DiffID)
	}
	return nil
}

// candidates are the layers that are what req asks for, if the store has them.
func (s *Set) candidates(req Request) (ids []store.ID) {
	if req.TOC != "" {
		ids = append(ids, store.ID{Blob: req.Source.Digest, TOC: req.TOC})
	}
	if req.Proves == nil {
		return ids
	}
	return append(ids, slices.DeleteFunc(s.store.Layers(), func(id store.ID) bool {
		diffID := id.Imported()
		return id.Blob != req.Source.Digest || diffID == "" || !req.Proves(diffID)
	})...)
}

// stored is Layer for a layer that is not damaged.
func (s *Set) stored(id store.ID) (*Layer, error) {
	l, err := s.Layer(id)
	if err == nil && !l.data.IsStored() {
		return nil, errors.Join(store.ErrNotFound, l.Close())
	}
	return l, err
}

// openAhead starts to open the siblings that the store does not have. With a kept index there
// is nothing to be waited for.
func (s *Set) openAhead(req Request) {
	if len(req.Siblings) == 0 {
		return
	}
	have := map[digest.Digest]bool{req.Source.Digest: true}
	for _, id := range s.store.Layers() {
		have[id.Blob] = true
	}
	takes := s.imports.takes(req)
	for _, blob := range req.Siblings {
		if have[blob] || takes && s.store.HasIndex(blob) {
			continue
		}
		src := fetch.Source{Ref: req.Source.Ref, Digest: blob}
		o := s.opening(src, true)
		if takes {
			ahead := Request{Source: src, Manifest: req.Manifest}
			s.run(func() { s.importAhead(ahead, o, req.TOC == "") })
		}
	}
}

// importAhead starts to import the layer of req if o finds no index that can be used, none is
// attached, and the disk takes what nobody requested yet. What the image says about the index
// is looked up only if unnamed is set: the labels of the layer that is opened have no TOC
// digest, so that the manifest is fetched anyway.
func (s *Set) importAhead(req Request, o *opening, unnamed bool) {
	idx, err := o.wait(s.ctx)
	if err == nil && unnamed {
		var claim index.Claim
		if claim, err = s.expect(s.ctx, req); err == nil {
			err = check(claim, idx)
		}
	}
	if importable(err, o.size) && !s.imports.attached.has(s.ctx, req) && s.disk.state().takesAhead() {
		s.imports.start(req.Source, o.size)
	}
}

// add adds the verified index of the layer id to the store. Concurrent calls for one layer
// share the work.
func (s *Set) add(id store.ID, req Request, idx *encoded) (store.ID, error) {
	_, err, _ := s.once.add.Do(keyOf(id), func() (any, error) { return nil, s.addToStore(id, req, idx) })
	if err != nil {
		return store.ID{}, err
	}
	l, err := s.Layer(id)
	if err != nil {
		return store.ID{}, err
	}
	if !s.opts.NoPrefetch {
		// A container over the layer will need them soon.
		s.background(l, "indexing the programs of a layer failed", func() error { _, err := l.files(); return err })
	}
	return id, errors.Join(s.opened(l, req), l.Close())
}

// addToStore adds an index to the store unless it has the layer.
func (s *Set) addToStore(id store.ID, req Request, idx *encoded) error {
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

// opened records that req's image has the blob of l, and starts the prefetch.
func (s *Set) opened(l *Layer, req Request) error {
	s.addSource(l, req.Source.Ref)
	s.caches.addClaim(l.ID(), req.Proves)
	if !s.opts.NoPrefetch && !l.data.Full() {
		s.background(l, "prefetching a layer failed", func() error { return l.prefetch(s.opts.PrefetchSize) })
	}
	err := l.data.AddSource(req.Source.Ref)
	if durable.NoSpace(err) {
		log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).WithField("image", req.Source.Ref).Warn("source image of a layer is not stored")
		return nil
	}
	return err
}

// opening is the fetch of an index.
type opening struct {
	ahead bool          // started by openAhead
	done  chan struct{} // closed when the fields below are set
	idx   *encoded
	size  int64 // of the blob, in bytes; 0 if it is not known, due to an error of the registry
	err   error
}

// openingTTL is how long the result of an opening, an index or ErrNotLazy, is cached for the
// first Open; usedOpeningTTL is how long afterwards. Other errors are not cached.
const (
	openingTTL     = time.Minute
	usedOpeningTTL = time.Second
)

// opening returns the opening of src. If there is none, it starts one.
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
		o.idx, o.size, o.err = s.readIndex(ctx, src)
		if o.err != nil && !errors.Is(o.err, ErrNotLazy) {
			s.forget(src, o)
		}
		close(o.done)
		time.AfterFunc(openingTTL, func() { s.forget(src, o) })
	})
	if !started {
		o.err = errClosed
		close(o.done)
		return o
	}
	s.mu.openings[src] = o
	return o
}

// wait waits until o or ctx has ended.
func (o *opening) wait(ctx context.Context) (*encoded, error) {
	select {
	case <-o.done:
		return o.idx, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (o *opening) hasEnded() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// consumed records that an Open of src has used o, with the result err. After a failure
// the next Open starts anew. After a success, o remains for an Open that looked the layer
// up in the store before it was added.
func (s *Set) consumed(src fetch.Source, o *opening, err error) {
	if err != nil {
		s.forget(src, o)
		return
	}
	time.AfterFunc(usedOpeningTTL, func() { s.forget(src, o) })
}

func (s *Set) forget(src fetch.Source, o *opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.openings[src] == o {
		delete(s.mu.openings, src)
	}
}
