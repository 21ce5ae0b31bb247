package layer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/log"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/flight"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// Options configure a Set. Zero fields mean the defaults in brackets.
type Options struct {
	ReadTimeout  time.Duration // bound of one read [60 s]
	OpenTimeout  time.Duration // bound of fetching a layer's index [30 s]
	PrefetchSize int64         // bytes to prefetch of a blob without a landmark [0]
	NoPrefetch   bool          // ignore landmarks and PrefetchSize
	NoFill       bool          // do not fill layers in the background
	FillDelay    time.Duration // without a waiting reader before layers are filled [5 s]
	FillRetry    time.Duration // before a layer is filled again after an error, or dropped from the page cache again [60 s]

	// ChunkMemory bounds the bytes of memory, over all layers, for chunks that are
	// decompressed and verified, and for decompressors. Half of it is for chunks
	// that readers wait for. A chunk that needs more than half is processed alone.
	// [128 MiB]
	ChunkMemory int64

	// Lenders lend what it takes to read images. Nil: nothing is lent.
	Lenders Lenders

	Importing Importing

	// Trust says which indexes are used of layers that have none in their blob
	// [TrustBound].
	Trust Trust

	Counts
}

// Counts are the metrics of a set. What is nil is not counted.
type Counts struct {
	Layers  *metrics.Layers  // opened layers
	Proofs  *metrics.Proofs  // layers of which the tar was rebuilt
	Imports *metrics.Imports // imported layers
	Chunks  *metrics.Chunks  // verified chunks
	Reads   *metrics.Reads   // reads of layers
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.ReadTimeout, time.Minute},
		{&o.OpenTimeout, 30 * time.Second},
		{&o.FillDelay, 5 * time.Second},
		{&o.FillRetry, time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.ChunkMemory == 0 {
		o.ChunkMemory = chunkMemory
	}
	return o
}

// Set is all layers of a daemon. It may be used concurrently.
type Set struct {
	store   *store.Store
	fetch   *fetch.Client
	opts    Options
	disk    *disk
	caches  caches
	budget  *budget
	once    flights
	imports *imports

	ctx    context.Context // from NewSet to Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // openings, imports, prefetches and the filler

	mu struct {
		sync.Mutex
		// layers has the layers with refs > 0.
		layers map[store.ID]*Layer
		// openings has the openings in progress and the cached ones.
		openings map[fetch.Source]*opening
		// filling is the layer that the filler works on; zero for none.
		filling store.ID
		// unopened is when the filler looks again at layers that nobody has open and that
		// were not full, or could not be proved.
		unopened map[store.ID]time.Time
	}
}

// NewSet returns the set of the layers in st. client fetches their blobs. Background work
// runs until Close.
func NewSet(st *store.Store, client *fetch.Client, opts Options) *Set {
	s := &Set{store: st, fetch: client, opts: opts.withDefaults(), caches: newCaches()}
	s.budget = newBudget(s.opts.ChunkMemory)
	// The set is the root of the lifetimes of all background work.
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.disk = &disk{ctx: s.ctx, store: st}
	s.imports = newImports(s)
	s.mu.layers = map[store.ID]*Layer{}
	s.mu.openings = map[fetch.Source]*opening{}
	s.mu.unopened = map[store.ID]time.Time{}
	s.wg.Go(s.sweepPartials)
	s.disk.state() // logs if the disk is low already
	s.wg.Go(s.fill)
	return s
}

// flights share the work of concurrent calls.
type flights struct {
	manifest flight.Group[[]byte] // fetch a manifest; key: reference and digest
	add      singleflight.Group   // add a layer to the store; key: keyOf
	prove    singleflight.Group   // prove a layer; key: keyOf
	find     singleflight.Group   // find a layer's files; key: keyOf
}

// keyOf returns the key of a layer.
func keyOf(id store.ID) string { return string(id.Blob + id.TOC) }

// Layer returns a layer of the store, without network. All callers share one *Layer, and
// each closes it. A layer that was found damaged while it was open is shared until the
// store has it again. One that was found not to be what its blob is returns ErrWrong.
func (s *Set) Layer(id store.ID) (*Layer, error) {
	if wrong := s.store.Proof(id).Wrong; wrong != "" {
		return nil, fmt.Errorf("layer %s: %w: %s", id.Blob, ErrWrong, wrong)
	}
	if l := s.share(id, nil); l != nil {
		return l, nil
	}
	mine, err := s.load(id)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", id.Blob, err)
	}
	l := s.share(id, mine)
	if l == mine {
		return l, nil
	}
	if err := mine.stop(); err != nil { // a concurrent call has added the layer
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// share returns the open layer id with a further reference. If the layer is not open, it
// adds mine, which has one reference and may be nil, and returns it.
func (s *Set) share(id store.ID, mine *Layer) *Layer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.mu.layers[id]; l != nil && (l.data.IsStored() || !s.store.Has(id)) {
		l.refs++
		return l
	}
	if mine != nil {
		s.mu.layers[id] = mine
	}
	return mine
}

func (s *Set) load(id store.ID) (*Layer, error) {
	data, err := s.store.Layer(id)
	if err != nil {
		return nil, err
	}
	table, err := index.DecodeTable(data.Chunks())
	if err == nil {
		err = checkFits(table, data.DataSize())
	}
	if err != nil {
		return nil, errors.Join(data.Damaged(err), data.Close())
	}
	l := &Layer{set: s, data: data, table: table, refs: 1, linkedSem: semaphore.NewWeighted(maxLinked)}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	if proof := s.store.Proof(id); proof != (store.Proof{}) {
		l.proof.known.set(proof)
	}
	l.mu.active = time.Now() // the caller is about to read
	refs := data.Sources()
	for i := len(refs) - 1; i >= 0; i-- {
		s.addSource(l, refs[i])
	}
	return l, nil
}

// checkFits checks that all chunks are within a data file of size bytes.
func checkFits(t index.Table, size int64) error {
	if n := t.Len(); n > 0 {
		if c := t.At(n - 1); c.DataOffset+c.Size > size {
			return fmt.Errorf("%w: a chunk ends at %d of a data file of %d", ErrInvalid, c.DataOffset+c.Size, size)
		}
	}
	return nil
}

func (s *Set) addSource(l *Layer, ref string) {
	l.sources.add(ref, func() *fetch.Blob {
		return s.fetch.Blob(fetch.Source{Ref: ref, Digest: l.ID().Blob})
	})
}

// errClosed is the error of an operation after Close.
var errClosed = errors.New("closed")

func (s *Set) close(l *Layer) error {
	s.mu.Lock()
	if l.refs == 0 {
		s.mu.Unlock()
		return fmt.Errorf("layer %s: %w", l.ID().Blob, errClosed)
	}
	l.refs--
	last := l.refs == 0
	if last && l.data.Full() && l.keeps() && time.Now().After(l.filling.after) {
		delete(s.mu.unopened, l.ID()) // it became full, and is not proved
	}
	if last && s.mu.layers[l.ID()] == l {
		delete(s.mu.layers, l.ID())
	}
	s.mu.Unlock()
	if !last {
		return nil
	}
	return l.stop()
}

// Usage returns the bytes and inodes of a layer on disk. The error wraps
// store.ErrNotFound.
func (s *Set) Usage(id store.ID) (bytes, inodes int64, err error) { return s.store.Usage(id) }

// run is goLocked for a caller that does not hold the mutex.
func (s *Set) run(work func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.goLocked(work)
}

// goLocked runs work in the background; it returns false if the set was closed.
func (s *Set) goLocked(work func()) bool {
	if s.ctx.Err() != nil {
		return false
	}
	s.wg.Go(work)
	return true
}

// background runs work for l in the background, with a reference to l. It logs an error
// of work with the message failure. The caller has a reference to l.
func (s *Set) background(l *Layer, failure string, work func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	started := s.goLocked(func() {
		err := work()
		if l.ctx.Err() == nil && err != nil && !errors.Is(err, errNoRoom) {
			log.G(l.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn(failure)
		}
		if err := l.Close(); err != nil {
			log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).Error("closing a layer failed")
		}
	})
	if started {
		l.refs++
	}
}

// Close ends all background work. Reads of layers that are still open return an error for
// absent chunks.
func (s *Set) Close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.caches.stop()
	s.wg.Wait()
	s.imports.close()
	return nil
}
