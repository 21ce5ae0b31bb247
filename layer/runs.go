package layer

import (
	"slices"
	"time"

	"github.com/ladle-dev/ladle/store"
)

// join returns, for a reader, the run that fetches the n-th chunk, starting one if
// there is none, or nil if the chunk is no longer absent. A run that is started
// fetches the chunks before end, too. A reader more than maxWindow bytes of the blob
// behind the head of a run, such as a long prefetch, gets a run of its own.
func (l *Layer) join(n, end int) *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.used = time.Now()
	r, line := l.comingLocked(n)
	switch {
	case r != nil && line <= maxWindow:
	case l.data.State(n) != store.Absent:
		return nil
	case r != nil:
		r = l.runLocked(planner{l.table, l.isAbsent, none}.around(n, end, 0), span{n, end})
	default:
		r = l.startLocked(n, end, span{n, end})
	}
	r.want()
	return r
}

// startLocked starts the run for an absent chunk.
func (l *Layer) startLocked(n, end int, asked span) *run {
	full := l.set.room() != roomAll
	if p, ok := l.program(n); ok && !full {
		return l.aloneLocked(span{n, max(end, p.end)}, asked, l.programWindow())
	}
	window, sequential := l.mu.ahead.miss(n, l.table.At(n).BlobOffset, l.firstWindow())
	if !sequential {
		window = l.windowAround(n, window)
	}
	if full {
		window = minFirst
	}
	r := l.runLocked(l.planLocked(n, end, window), asked)
	l.mu.ahead.fetched(r.span, l.table.At(r.first).BlobOffset, l.table.At(r.end-1).BlobEnd)
	return r
}

// windowAround returns the window, given that for small files, of a run that
// starts at the n-th chunk.
func (l *Layer) windowAround(n int, window int64) int64 {
	c := l.table.At(n)
	if size := c.BlobEnd - c.BlobOffset; size >= largeChunk {
		return size + window/4
	}
	return window
}

// largeChunk is from how many bytes of the blob on a chunk is part of a large
// file, whose neighbours are seldom wanted with it.
const largeChunk = 256 << 10

// ask starts the runs for the chunks of s that are absent, if the disk has room:
// nobody waits for them.
func (l *Layer) ask(s span, window int64) (started []*run) {
	if l.set.room() != roomAll {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := s.first; n < s.end; n++ {
		if l.absentLocked(n) {
			started = append(started, l.aloneLocked(span{n, s.end}, span{}, window))
		}
	}
	return started
}

// aloneLocked starts a run for the chunks of s, which tell nothing of what is read
// next. If they are few, neighbours come along that fill the window.
func (l *Layer) aloneLocked(s, asked span, window int64) *run {
	return l.runLocked(l.planLocked(s.first, s.end, l.windowAround(s.first, window)), asked)
}

// planLocked returns the span of a run of up to window bytes of the blob from
// chunk n on.
func (l *Layer) planLocked(n, end int, window int64) span {
	coming := func(n int) bool {
		r, _ := l.comingLocked(n)
		return r != nil
	}
	return planner{l.table, l.absentLocked, coming}.around(n, end, window)
}

// runLocked starts a run for s. A reader asked for the chunks of asked, which is empty
// if none did.
func (l *Layer) runLocked(s, asked span) *run {
	r := newRun(l.ctx, s, asked)
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

// comingLocked returns the run that is going to have the n-th chunk first, and
// how many bytes of the blob come before it. There is none if r is nil.
func (l *Layer) comingLocked(n int) (r *run, line int64) {
	for _, o := range l.mu.runs {
		at := o.at()
		if n < at || n >= o.end || o.givenUp() {
			continue
		}
		if before := l.table.At(n).BlobOffset - l.table.At(at).BlobOffset; r == nil || before < line {
			r, line = o, before
		}
	}
	return r, line
}

// isAbsent reports whether the n-th chunk is neither on disk nor in memory.
func (l *Layer) isAbsent(n int) bool {
	return l.data.State(n) == store.Absent && !l.set.memory.has(chunkID{l.Number(), n})
}

func none(int) bool { return false }

// absentLocked reports whether the n-th chunk is absent and in no run.
func (l *Layer) absentLocked(n int) bool {
	r, _ := l.comingLocked(n)
	return r == nil && l.isAbsent(n)
}

// firstWindow is three times what the link carries during one round trip: with much
// less a request costs more than its bytes, with much more the bytes that
// nobody asked for hold up those that somebody will.
func (l *Layer) firstWindow() int64 {
	link := l.sources.link()
	return min(max(int64(3*link.RoundTrip.Seconds()*link.Bandwidth), minFirst), maxFirst)
}

// programWindow is the window of programs and libraries.
func (l *Layer) programWindow() int64 { return l.firstWindow() / 2 }

// readAhead notes that the chunks of s are read, and starts the next run if the
// reader is sequential.
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
	if ok && next < l.table.Len() && l.absentLocked(next) && l.set.room() == roomAll {
		l.startLocked(next, next+1, span{})
	}
}
