package layer

import (
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/store"
)

// fillWindow is how many bytes of a blob the filler fetches at a time. A
// reader that comes meanwhile waits behind no more than that.
const fillWindow = 4 << 20

// fillRetry is how long the filler leaves a layer alone whose fetch failed.
const fillRetry = time.Minute

// prefetch fetches what the image's author marked as needed first, or size
// bytes of the blob where he marked nothing, and gives the layer back.
func (l *Layer) prefetch(size int64) {
	defer l.Close()
	if marked := l.table.PrefetchSize(); marked > 0 {
		size = marked
	}
	for n := 0; n < l.table.Len() && l.table.At(n).BlobEnd <= size; {
		next, err := l.fillFrom(n, size-l.table.At(n).BlobOffset)
		if err != nil {
			log.G(l.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("prefetch")
			return
		}
		n = next
	}
}

// fillFrom makes absent chunks from the n-th on present, as many as one
// request of window bytes yields, and returns the chunk to go on with. If
// none is absent that is the number of chunks.
func (l *Layer) fillFrom(n int, window int64) (int, error) {
	l.mu.Lock()
	for n < l.table.Len() && !l.absentLocked(n) {
		n++
	}
	if n == l.table.Len() {
		l.mu.Unlock()
		return n, nil
	}
	r := l.runLocked(n, n+1, window)
	l.mu.Unlock()
	return r.span.end, r.wait(l.ctx, r.span.end-1)
}

// filling is a layer that the filler is at.
type filling struct {
	next  int       // chunk to go on from
	after time.Time // not before
	done  bool
}

// fill fetches what no reader has asked for, layer by layer, while no reader
// asks for anything. A layer that is full needs neither registry nor daemon.
func (s *Set) fill() {
	progress := map[store.ID]*filling{}
	for s.pause(s.opts.FillDelay) {
		for s.idle() && s.fillOne(progress) {
		}
	}
}

// pause waits for d; it returns false when the set is closed.
func (s *Set) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// idle reports whether no reader has had to wait lately.
func (s *Set) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.mu.layers {
		l.mu.Lock()
		used := l.mu.used
		l.mu.Unlock()
		if time.Since(used) < s.opts.FillDelay {
			return false
		}
	}
	return s.ctx.Err() == nil
}

// fillOne does one request's worth of work; it returns false if there is none.
func (s *Set) fillOne(progress map[store.ID]*filling) bool {
	l := s.unfilled(progress)
	if l == nil {
		return false
	}
	defer l.Close()
	f := progress[l.ID()]
	next, err := l.fillFrom(f.next, fillWindow)
	f.next, f.done = next, err == nil && next == l.table.Len()
	if err != nil && l.ctx.Err() == nil {
		*f = filling{after: time.Now().Add(fillRetry)}
		log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("background fetch")
	}
	return true
}

// unfilled returns the open layer with the lowest number that has work left,
// for the caller to close, or nil.
func (s *Set) unfilled(progress map[store.ID]*filling) *Layer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first *Layer
	for id, l := range s.mu.layers {
		f := progress[id]
		if f == nil {
			f = &filling{}
			progress[id] = f
		}
		if !f.done && time.Now().After(f.after) && (first == nil || l.Number() < first.Number()) {
			first = l
		}
	}
	if first != nil {
		first.refs++
	}
	return first
}
