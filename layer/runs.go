package layer

import (
	"slices"
	"time"

	"github.com/ladle-dev/ladle/store"
)

// join returns, for a reader, the run that fetches the n-th chunk; nil if the chunk is
// not absent any more. If there is no run, it starts one that fetches the chunks before
// end, too. A reader more than maxWindow bytes of the blob behind the head of a run, such
// as a long prefetch, gets a run of its own.
func (l *Layer) join(n, end int) *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.active = time.Now()
	r, before := l.runOfLocked(n)
	switch {
	case r != nil && before <= maxWindow:
	case l.data.State(n) != store.Absent:
		return nil
	case r != nil:
		r = l.runLocked(planner{l.table, l.isAbsent, none}.around(n, end, 0), span{n, end})
	default:
		r = l.startLocked(n, end, span{n, end})
	}
	r.prioritize()
	return r
}

// startLocked starts the run for an absent chunk.
func (l *Layer) startLocked(n, end int, requested span) *run {
	ahead := l.set.disk.state().takesAhead()
	if p, ok := l.program(n); ok && ahead {
		return l.startSpanLocked(span{n, max(end, p.end)}, requested, l.programWindow())
	}
	window, sequential := l.mu.ahead.miss(n, l.table.At(n).BlobOffset, l.firstWindow())
	if !sequential {
		window = l.windowAround(n, window)
	}
	if !ahead {
		window = minFirst
	}
	r := l.runLocked(l.planLocked(n, end, window), requested)
	l.mu.ahead.fetched(r.span, l.table.At(r.first).BlobOffset, l.table.At(r.end-1).BlobEnd)
	return r
}

// windowAround returns the window of a run from the n-th chunk on, given the one for
// small files.
func (l *Layer) windowAround(n int, window int64) int64 {
	c := l.table.At(n)
	if size := c.BlobEnd - c.BlobOffset; size >= largeChunk {
		return size + window/4
	}
	return window
}

// largeChunk is the size in the blob, in bytes, from which a chunk counts as one of a
// large file: its neighbours are seldom read together with it.
const largeChunk = 256 << 10

// startAhead starts runs for the absent chunks of s, without a waiting reader, if the
// disk takes them.
func (l *Layer) startAhead(s span, window int64) (started []*run) {
	if !l.set.disk.state().takesAhead() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := s.first; n < s.end; n++ {
		if l.absentLocked(n) {
			started = append(started, l.startSpanLocked(span{n, s.end}, span{}, window))
		}
	}
	return started
}

// startSpanLocked starts a run for the chunks of s, without an effect on readahead. If
// these are fewer bytes than window, neighbours are fetched with them.
func (l *Layer) startSpanLocked(s, requested span, window int64) *run {
	return l.runLocked(l.planLocked(s.first, s.end, l.windowAround(s.first, window)), requested)
}

// planLocked returns the span of a run of up to window bytes of the blob from chunk n on.
func (l *Layer) planLocked(n, end int, window int64) span {
	inRun := func(n int) bool {
		r, _ := l.runOfLocked(n)
		return r != nil
	}
	return planner{l.table, l.absentLocked, inRun}.around(n, end, window)
}

// runLocked starts a run for s. A reader requested the chunks of requested, which can be
// empty.
func (l *Layer) runLocked(s, requested span) *run {
	r := newRun(l.ctx, s, requested)
	l.mu.runs = append(l.mu.runs, r)
	l.wg.Go(func() {
		started, err := l.set.budget.start(l.ctx, r)
		if err == nil {
			err = l.fetch(r)
		}
		started.release()
		l.mu.Lock()
		l.mu.runs = slices.DeleteFunc(l.mu.runs, func(o *run) bool { return o == r })
		l.mu.Unlock()
		r.finish(err)
	})
	return r
}

// runOfLocked returns the run that will have the n-th chunk first, or nil, and the number
// of bytes of the blob that it receives before the chunk.
func (l *Layer) runOfLocked(n int) (r *run, before int64) {
	for _, o := range l.mu.runs {
		head := o.head()
		if n < head || n >= o.end || o.isAbandoned() {
			continue
		}
		if bytes := l.table.At(n).BlobOffset - l.table.At(head).BlobOffset; r == nil || bytes < before {
			r, before = o, bytes
		}
	}
	return r, before
}

// isAbsent reports whether the n-th chunk is neither on disk nor in memory.
func (l *Layer) isAbsent(n int) bool {
	return l.data.State(n) == store.Absent && !l.set.caches.chunks.Has(chunkID{l.Number(), n})
}

func none(int) bool { return false }

// absentLocked reports whether the n-th chunk is absent and in no run.
func (l *Layer) absentLocked(n int) bool {
	r, _ := l.runOfLocked(n)
	return r == nil && l.isAbsent(n)
}

// firstWindow is three times the bytes that the link carries during one round trip: with
// much less, a request costs more than its bytes; with much more, bytes that are not read
// delay those that are.
func (l *Layer) firstWindow() int64 {
	link := l.sources.link()
	return min(max(int64(3*link.RoundTrip.Seconds()*link.Bandwidth), minFirst), maxFirst)
}

// programWindow is the window of programs and libraries.
func (l *Layer) programWindow() int64 { return l.firstWindow() / 2 }

// readAhead records that the chunks of s were read, and starts the next run if the reader
// is sequential.
func (l *Layer) readAhead(s span) {
	if s.first == s.end {
		return
	}
	n := s.end - 1
	offset := l.table.At(n).BlobOffset
	l.mu.Lock()
	defer l.mu.Unlock()
	for m := s.first; m < s.end; m++ {
		c := l.table.At(m)
		l.mu.ahead.readChunk(m, c.BlobEnd-c.BlobOffset)
	}
	next, ok := l.mu.ahead.ahead(n, offset)
	if ok && next < l.table.Len() && l.absentLocked(next) && l.set.disk.state().takesAhead() {
		l.startLocked(next, next+1, span{})
	}
}
