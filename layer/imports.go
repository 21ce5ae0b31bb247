package layer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/store"
)

// Importing is how layers without a table of contents are imported.
type Importing struct {
	Enable bool
	// Concurrent bounds the imports that are in progress at the same time. Each keeps one
	// CPU busy with decompressing. [GOMAXPROCS]
	Concurrent int
}

// imports are the imports of a set: at most one of a blob at a time.
//
// An Open waits for the import of its layer. The imports of its siblings run ahead, in the
// order of their queue. What they make is added to the store by the Open that asks for it:
// before, nobody would keep it from being removed. An import ends, and what it has made is
// removed, when all that waited for it gave up, and when its image is not pulled any more. The
// bytes of the blob that it has fetched stay for the next import: see resume.
type imports struct {
	set   *Set
	slots *slots

	// attached are the indexes with which layers need not be imported.
	attached *attached

	mu struct {
		sync.Mutex
		// all are in progress, or done and not added to the store.
		all map[digest.Digest]*importing
		// pulls counts the Opens in progress by image reference; each has a timer
		// from the end of its last one on.
		pulls map[string]*pull
		// failures are the newest imports that failed, maxFailures at most, the oldest
		// first.
		failures []FailedImport
	}
}

// importing is the import of a blob.
type importing struct {
	src    fetch.Source
	size   int64 // of the blob, in bytes
	ctx    context.Context
	cancel context.CancelCauseFunc

	fetched atomic.Int64              // bytes of the blob
	began   atomic.Pointer[time.Time] // when it had its turn; nil before
	waiters atomic.Int32              // Opens that wait; changed with imports.mu held

	rangeless bool // no host serves ranges of the blob; of the goroutine of the import

	done chan struct{} // closed, with imports.mu held, when the fields below are set
	made *made
	err  error

	added adding
}

// adding is what is known of adding an import's layer to the store.
type adding struct {
	sync.Mutex // held while it is added
	done       bool
	id         store.ID
	err        error
}

// pull is an image of which layers are opened.
type pull struct {
	opens int
	idle  *time.Timer // nil while opens > 0
}

// pullTTL is how long after the last Open of an image its imports that no Open waits for
// go on, and what they made is kept.
const pullTTL = time.Minute

// errUnwanted is the cause of the end of an import that nobody waits for any more.
var errUnwanted = errors.New("nobody waits for the layer any more")

func newImports(s *Set) *imports {
	m := &imports{set: s, slots: newSlots(s.opts.Importing.Concurrent), attached: newAttached(s)}
	m.mu.all = map[digest.Digest]*importing{}
	m.mu.pulls = map[string]*pull{}
	return m
}

// enter records that an Open of the image ref is in progress until leave is called with
// the context of the Open.
func (m *imports) enter(ref string) (leave func(ctx context.Context)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.mu.pulls[ref]
	if p == nil {
		p = &pull{}
		m.mu.pulls[ref] = p
	}
	p.opens++
	if p.idle != nil {
		p.idle.Stop()
		p.idle = nil
	}
	return func(ctx context.Context) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if p.opens--; p.opens > 0 {
			return
		}
		ttl := pullTTL
		if ctx.Err() != nil {
			ttl = 0 // the pull was cancelled
		}
		p.idle = time.AfterFunc(ttl, func() { m.end(ref, p) })
	}
}

// end ends the imports of the image ref that no Open waits for, unless one is in progress.
func (m *imports) end(ref string, p *pull) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.opens > 0 || m.mu.pulls[ref] != p {
		return
	}
	delete(m.mu.pulls, ref)
	for _, i := range m.mu.all {
		if i.src.Ref == ref && i.waiters.Load() == 0 {
			m.dropLocked(i)
		}
	}
}

// dropLocked ends an import, and removes what it has made.
func (m *imports) dropLocked(i *importing) {
	if m.mu.all[i.src.Digest] == i {
		delete(m.mu.all, i.src.Digest)
	}
	i.cancel(errUnwanted)
	select {
	case <-i.done:
		m.abandon(i.made)
	default: // it finds out
	}
}

// close removes what was made and is not in the store. No import is in progress any more.
func (m *imports) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range m.mu.all {
		m.dropLocked(i)
	}
	for _, p := range m.mu.pulls {
		if p.idle != nil {
			p.idle.Stop()
		}
	}
}

// abandon removes what an import has made.
func (m *imports) abandon(made *made) {
	if made == nil || made.filling == nil {
		return
	}
	if err := made.filling.Abandon(); err != nil {
		log.G(m.set.ctx).WithError(err).Warn("what an import has made is not removed")
	}
}

// start starts the import of a blob of size bytes ahead, unless there is one, or its image is
// not pulled any more: nobody would end it then.
func (m *imports) start(src fetch.Source, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.pulls[src.Ref] == nil {
		return
	}
	m.startLocked(src, size)
}

func (m *imports) startLocked(src fetch.Source, size int64) *importing {
	if i := m.mu.all[src.Digest]; i != nil {
		return i
	}
	i := &importing{src: src, size: size, done: make(chan struct{})}
	i.ctx, i.cancel = context.WithCancelCause(m.set.ctx)
	if !m.set.run(func() { m.run(i) }) {
		i.err = errClosed
		close(i.done)
		return i
	}
	m.mu.all[src.Digest] = i
	return i
}

// join starts the import of a blob unless there is one, and waits for it with the others
// until leave is called.
func (m *imports) join(src fetch.Source, size int64) *importing {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.startLocked(src, size)
	i.waiters.Add(1)
	return i
}

// leave ends what join began. The last to leave ends the import.
func (m *imports) leave(i *importing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i.waiters.Add(-1) == 0 {
		m.dropLocked(i)
	}
}

// run is the goroutine of an import.
func (m *imports) run(i *importing) {
	made, err := m.importBlob(i)
	m.set.opts.Imports.Ended(outcomeOf(err))
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && i.ctx.Err() != nil {
		err = context.Cause(i.ctx)
	}
	if err != nil {
		m.failedLocked(i, err)
		m.abandon(made)
		i.cancel(err)
		made = nil
		if m.mu.all[i.src.Digest] == i {
			delete(m.mu.all, i.src.Digest)
		}
	}
	i.made, i.err = made, err
	close(i.done)
}

// wait waits until the import or ctx has ended.
func (i *importing) wait(ctx context.Context) error {
	select {
	case <-i.done:
		return i.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
