package layer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"golang.org/x/sync/singleflight"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/tree"
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
}

func (o Options) withDefaults() Options {
	if o.ReadTimeout == 0 {
		o.ReadTimeout = time.Minute
	}
	if o.OpenTimeout == 0 {
		o.OpenTimeout = 30 * time.Second
	}
	if o.FillDelay == 0 {
		o.FillDelay = 5 * time.Second
	}
	return o
}

// Set is all layers of a daemon. It may be used concurrently.
type Set struct {
	store *store.Store
	fetch *fetch.Client
	opts  Options
	// trees are those that were used lately; tree images are made of them.
	trees *expirable.LRU[store.ID, *tree.Inode]

	manifests singleflight.Group // by reference and digest

	ctx    context.Context // lives from NewSet to Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // openings and the filler

	mu struct {
		sync.Mutex
		// layers are those with a reference.
		layers map[store.ID]*Layer
		// openings are indexes that are being fetched or were fetched ahead
		// and that no Open has asked for yet.
		openings map[fetch.Source]*opening
		// prefetched are the layers whose prefetch was started by this set.
		prefetched map[store.ID]bool
	}
}

// Trees that were used lately are kept for those who make tree images of
// them: a pull makes one over all layers soon after it opened them.
const (
	treesKept    = 256
	treeLifetime = 30 * time.Second
)

// NewSet returns the set of the layers in st, whose blobs client fetches. Its
// background work lasts until Close.
func NewSet(st *store.Store, client *fetch.Client, opts Options) *Set {
	s := &Set{
		store: st,
		fetch: client,
		opts:  opts.withDefaults(),
		trees: expirable.NewLRU[store.ID, *tree.Inode](treesKept, nil, treeLifetime),
	}
	// The set is where the lifetime of all background work starts.
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.layers = map[store.ID]*Layer{}
	s.mu.openings = map[fetch.Source]*opening{}
	s.mu.prefetched = map[store.ID]bool{}
	if !s.opts.NoFill {
		s.wg.Go(s.fill)
	}
	return s
}

// Layer returns a layer that the store has. It needs no network. All callers
// share one *Layer; each closes it.
func (s *Set) Layer(id store.ID) (*Layer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.mu.layers[id]; l != nil {
		l.refs++
		return l, nil
	}
	l, err := s.load(id)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", id.Blob, err)
	}
	s.mu.layers[id] = l
	return l, nil
}

func (s *Set) load(id store.ID) (*Layer, error) {
	data, err := s.store.Layer(id)
	if err != nil {
		return nil, err
	}
	table, err := index.DecodeTable(data.Chunks())
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	l := &Layer{set: s, data: data, table: table, refs: 1}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	refs := data.Sources()
	for i := len(refs) - 1; i >= 0; i-- {
		s.addSource(l, refs[i])
	}
	return l, nil
}

func (s *Set) addSource(l *Layer, ref string) {
	l.sources.add(ref, func() *fetch.Blob {
		return s.fetch.Blob(fetch.Source{Ref: ref, Digest: l.ID().Blob})
	})
}

func (s *Set) close(l *Layer) error {
	s.mu.Lock()
	l.refs--
	last := l.refs == 0
	if last {
		delete(s.mu.layers, l.ID())
	}
	s.mu.Unlock()
	if !last {
		return nil
	}
	return l.stop()
}

// tree returns the tree of a layer of the store.
func (s *Set) tree(data *store.Layer) (*tree.Inode, error) {
	if root, ok := s.trees.Get(data.ID()); ok {
		return root, nil
	}
	b, err := data.Entries()
	if err != nil {
		return nil, err
	}
	root, err := index.DecodeTree(b)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", data.ID().Blob, err)
	}
	s.trees.Add(data.ID(), root)
	return root, nil
}

// Close ends all background work. Layers that are still open return errors
// for what is not present.
func (s *Set) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}
