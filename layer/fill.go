package layer

import (
	"errors"
	"sort"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/store"
)

// fillWindow is the number of bytes of a blob that the filler fetches per request. A
// reader that arrives meanwhile waits for no more than these.
const fillWindow = 4 << 20

// prefetch fetches the bytes up to the landmark of the image's author, or the first size
// bytes of the blob if there is no landmark.
func (l *Layer) prefetch(size int64) error {
	if marked := l.table.PrefetchSize(); marked > 0 {
		size = marked
	}
	end := sort.Search(l.table.Len(), func(n int) bool { return l.table.At(n).BlobEnd > size })
	for s := (span{0, end}); s.first < s.end && l.set.disk.state().takesAhead(); {
		var err error
		if s.first, err = l.fillFrom(s, size); err != nil {
			return err
		}
	}
	return nil
}

// fillFrom makes the first absent chunks of s present, as many as one request of window
// bytes yields, and returns the next chunk. If no chunk is absent, that is s.end.
func (l *Layer) fillFrom(s span, window int64) (int, error) {
	n := s.first
	for n < s.end && !l.isAbsent(n) {
		n++
	}
	l.mu.Lock()
	for n < s.end && !l.absentLocked(n) {
		n++
	}
	if n == s.end {
		l.mu.Unlock()
		return n, nil
	}
	window = min(window, l.table.At(s.end-1).BlobEnd-l.table.At(n).BlobOffset)
	r := l.runLocked(l.planLocked(n, n+1, window), span{})
	l.mu.Unlock()
	return r.span.end, r.wait(l.ctx, r.span.end-1)
}

// verifyFrom verifies the doubtful chunks of s up to the first absent one, until it has read
// window bytes, and returns the next chunk.
func (l *Layer) verifyFrom(s span, window int64) (int, error) {
	n := s.first
	for ; n < s.end && window > 0; n++ {
		switch l.data.State(n) {
		case store.Absent:
			return n, nil
		case store.Doubtful:
			window -= l.table.At(n).Size
			if err := l.reverify(l.ctx, n); err != nil {
				return n, err
			}
			if l.data.State(n) == store.Absent {
				return n, nil
			}
		}
	}
	return n, nil
}

// filling is the progress of the filler in a layer.
type filling struct {
	next  int       // chunk to continue at
	after time.Time // earliest time to continue
	// drop is when dropCached drops the page cache of a whole layer; zero: it has not
	// seen it yet.
	drop time.Time
}

// fill is the filler: it fetches the chunks that no reader has requested, and verifies those
// that are doubtful, layer by layer, while no reader waits. A layer that is full can be read
// without registry and daemon. It confirms and proves layers, too: see confirm and prove. With
// Options.NoFill it only confirms layers that readers have filled.
func (s *Set) fill() {
	for s.pause(s.opts.FillDelay) {
		for s.idle() && s.fillOne() {
		}
		s.dropCached()
	}
}

// pause waits for d; it returns false if the set was closed.
func (s *Set) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// idle reports whether no reader has waited within FillDelay, and the disk takes chunks
// that no reader requested.
func (s *Set) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.mu.layers {
		l.mu.Lock()
		active := l.mu.active
		l.mu.Unlock()
		if time.Since(active) < s.opts.FillDelay {
			return false
		}
	}
	return s.ctx.Err() == nil && s.disk.state().takesAhead()
}

// fillOne does the work of one request, or proves one layer; it returns false if no work is
// left.
func (s *Set) fillOne() bool {
	l, from := s.unfilled()
	if l == nil {
		return !s.opts.NoFill && s.proveOne()
	}
	defer l.Close()
	s.setFilling(l.ID())
	defer s.setFilling(store.ID{})
	if l.isUnconfirmed() {
		s.confirmOne(l)
		return true
	}
	next, err := l.verifyFrom(span{from, l.table.Len()}, fillWindow)
	if err == nil && next == from {
		next, err = l.fillFrom(span{from, l.table.Len()}, fillWindow)
	}
	if err == nil {
		// The chunks may never be read: free the page cache.
		err = l.data.DropCache(0, 0)
	}
	f := filling{next: next}
	if errors.Is(err, errNoRoom) {
		f, err = filling{next: from}, nil // continue when the disk has space again
	} else if err != nil || next == l.table.Len() && !l.data.Full() {
		f = filling{after: time.Now().Add(s.opts.FillRetry)}
	}
	s.mu.Lock()
	l.filling = f
	s.mu.Unlock()
	if err != nil && l.ctx.Err() == nil {
		log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("filling a layer in the background failed")
	}
	return true
}

func (s *Set) setFilling(id store.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.filling = id
}

// unfilled returns the open layer with the lowest number that has work left, with a
// reference for the caller to close, and the chunk to continue at; nil if there is none.
func (s *Set) unfilled() (first *Layer, from int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.mu.layers {
		if l.hasWork() && time.Now().After(l.filling.after) && (first == nil || l.Number() < first.Number()) {
			first = l
		}
	}
	if first == nil {
		return nil, 0
	}
	first.refs++
	return first, first.filling.next
}
