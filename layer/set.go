package layer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/log"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// Options say how layers are opened and read. Zero fields mean the defaults
// in brackets.
type Options struct {
	ReadTimeout  time.Duration // a reader waits for bytes no longer than this [60 s]
	OpenTimeout  time.Duration // to have a layer's index [30 s]
	PrefetchSize int64         // bytes of a blob to prefetch where its author set no landmark [0]
	NoPrefetch   bool          // ignore landmarks and PrefetchSize
	NoFill       bool          // do not fetch the rest of the layers while nobody reads
	FillDelay    time.Duration // without any reader before layers are filled [5 s]
	FillRetry    time.Duration // a layer is left alone that could not be filled [60 s]

	// ChunkMemory is how many bytes of memory chunks take, of all layers, while
	// they are unpacked and verified, and what unpacks them. Half of it is for
	// those that readers wait for. A chunk that needs more than half passes
	// alone. [128 MiB]
	ChunkMemory int64

	// Images returns images that have a blob and can perhaps be read, when those
	// that are known to have it may not. Nil: there are none.
	Images func(ctx context.Context, known []string, blob digest.Digest) []string

	Layers *metrics.Layers // layers that were opened; nil: not counted
	Chunks *metrics.Chunks // chunks that were verified; nil: not counted
	Reads  *metrics.Reads  // reads of layers; nil: not counted
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
	store  *store.Store
	fetch  *fetch.Client
	opts   Options
	trees  *trees
	files  *lru.Cache[store.ID, files] // of the layers that were read lately
	memory *memory
	budget *budget

	once flights

	ctx    context.Context // lives from NewSet to Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // openings, prefetches and the filler

	mu struct {
		sync.Mutex
		// layers are those with a reference.
		layers map[store.ID]*Layer
		// openings are indexes that are being fetched or were fetched ahead
		// and that no Open has asked for yet.
		openings map[fetch.Source]*opening
	}
}

// NewSet returns the set of the layers in st, whose blobs client fetches. Its
// background work lasts until Close.
func NewSet(st *store.Store, client *fetch.Client, opts Options) *Set {
	s := &Set{store: st, fetch: client, opts: opts.withDefaults(), trees: newTrees(), files: newFiles(), memory: newMemory()}
	s.budget = newBudget(s.opts.ChunkMemory)
	// The set is where the lifetime of all background work starts.
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.layers = map[store.ID]*Layer{}
	s.mu.openings = map[fetch.Source]*opening{}
	s.room() // a disk that is full already is worth a line in the log
	if !s.opts.NoFill {
		s.wg.Go(s.fill)
	}
	return s
}

// flights are what is done once, however many want it at the same time.
type flights struct {
	manifest singleflight.Group // is fetched; by reference and digest
	add      singleflight.Group // a layer to the store; by flight
	find     singleflight.Group // a layer's files; by flight
}

// flight is the key of a layer.
func flight(id store.ID) string { return string(id.Blob + id.TOC) }

// Layer returns a layer that the store has. It needs no network. All callers
// share one *Layer; each closes it. A layer that was found damaged while it was open
// is shared until the store has it again.
func (s *Set) Layer(id store.ID) (*Layer, error) {
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
	if err := mine.stop(); err != nil { // another caller was faster
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// share returns the layer id with one reference more, or mine, which has one,
// if nobody has it.
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
	l := &Layer{set: s, data: data, table: table, refs: 1, following: make(chan struct{}, maxFollowing)}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	l.mu.used = time.Now() // who opens it is about to read
	refs := data.Sources()
	for i := len(refs) - 1; i >= 0; i-- {
		s.addSource(l, refs[i])
	}
	return l, nil
}

// checkFits makes sure that the chunks lie in a data file of size bytes.
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

// errClosed is returned for what was closed already.
var errClosed = errors.New("closed")

func (s *Set) close(l *Layer) error {
	s.mu.Lock()
	if l.refs == 0 {
		s.mu.Unlock()
		return fmt.Errorf("layer %s: %w", l.ID().Blob, errClosed)
	}
	l.refs--
	last := l.refs == 0
	if last && s.mu.layers[l.ID()] == l {
		delete(s.mu.layers, l.ID())
	}
	s.mu.Unlock()
	if !last {
		return nil
	}
	return l.stop()
}

// Usage returns the bytes and inodes that a layer takes on disk, or
// store.ErrNotFound.
func (s *Set) Usage(id store.ID) (bytes, inodes int64, err error) { return s.store.Usage(id) }

// goLocked does work in the background; it reports false when the set is
// closed.
func (s *Set) goLocked(work func()) bool {
	if s.ctx.Err() != nil {
		return false
	}
	s.wg.Go(work)
	return true
}

// background does work for l, which the caller has open, and keeps it open
// meanwhile. It waits for nothing.
func (s *Set) background(l *Layer, work func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	started := s.goLocked(func() {
		err := work()
		if l.ctx.Err() == nil && err != nil && !errors.Is(err, errNoRoom) {
			log.G(l.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("prefetch")
		}
		if err := l.Close(); err != nil {
			log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).Error("close")
		}
	})
	if started {
		l.refs++
	}
}

// Close ends all background work. Layers that are still open return errors
// for what is not present.
func (s *Set) Close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.trees.purge.Stop()
	s.memory.purge.Stop()
	s.wg.Wait()
	return nil
}
