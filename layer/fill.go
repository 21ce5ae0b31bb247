package layer

import (
	"errors"
	"sort"
	"time"

	"github.com/containerd/log"
)

// fillWindow is how many bytes of a blob the filler fetches at a time. A
// reader that comes meanwhile waits behind no more than that.
const fillWindow = 4 << 20

// prefetch fetches what the image's author marked as needed first, or size
// bytes of the blob where he marked nothing.
func (l *Layer) prefetch(size int64) error {
	if marked := l.table.PrefetchSize(); marked > 0 {
		size = marked
	}
	end := sort.Search(l.table.Len(), func(n int) bool { return l.table.At(n).BlobEnd > size })
	for s := (span{0, end}); s.first < s.end && l.set.room() == roomAll; {
		var err error
		if s.first, err = l.fillFrom(s, size); err != nil {
			return err
		}
	}
	return nil
}

// fillFrom makes absent chunks of s present, the first ones and as many as one
// request of window bytes yields, and returns the chunk to go on with. If none
// is absent that is the end of s.
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

// filling is how far the filler is with a layer.
type filling struct {
	next  int       // chunk to go on from
	after time.Time // not before
}

// fill fetches what no reader has asked for, layer by layer, while no reader
// asks for anything. A layer that is full needs neither registry nor daemon.
func (s *Set) fill() {
	for s.pause(s.opts.FillDelay) {
		for s.idle() && s.fillOne() {
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

// idle reports whether no reader has had to wait lately, and the disk has room.
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
	return s.ctx.Err() == nil && s.room() == roomAll
}

// fillOne does one request's worth of work; it returns false if there is none.
func (s *Set) fillOne() bool {
	l, from := s.unfilled()
	if l == nil {
		return false
	}
	defer l.Close()
	next, err := l.fillFrom(span{from, l.table.Len()}, fillWindow)
	if err == nil {
		// Nobody asked for these bytes: memory has better uses.
		err = l.data.DropCache(0, 0)
	}
	f := filling{next: next}
	if errors.Is(err, errNoRoom) {
		f, err = filling{next: from}, nil // for when there is room again
	} else if err != nil || next == l.table.Len() {
		f = filling{after: time.Now().Add(s.opts.FillRetry)}
	}
	s.mu.Lock()
	l.filling = f
	s.mu.Unlock()
	if err != nil && l.ctx.Err() == nil {
		log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("background fetch")
	}
	return true
}

// unfilled returns the open layer with the lowest number that has work left,
// for the caller to close, and the chunk to go on from; or nil.
func (s *Set) unfilled() (first *Layer, from int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.mu.layers {
		if !l.data.Full() && time.Now().After(l.filling.after) && (first == nil || l.Number() < first.Number()) {
			first = l
		}
	}
	if first == nil {
		return nil, 0
	}
	first.refs++
	return first, first.filling.next
}
