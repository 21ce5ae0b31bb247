package layer

// The bounds of a window, in bytes of the blob: of the first run at a place,
// and of the ones that follow. They were chosen by replaying the reads of a
// Python program's start, short and with large libraries, over links from
// 100 Mbit to 1 Gbit: smaller ones need more requests for the same time, larger
// ones fetch more that nobody reads, which costs time on the slower links.
const (
	minFirst  = 256 << 10
	maxFirst  = 1 << 20
	maxWindow = 4 << 20
)

// reach is how many windows before and behind the end of its last run a place
// reaches.
const reach = 8

// A window grows to growth times the last one at its place, for who comes back
// there: the first time only if a part of the last run was read, one in
// usedShare bytes.
const (
	growth    = 4
	usedShare = 4
)

// readahead guesses how much to fetch from where a reader misses. It
// remembers a few places where readers were lately. Who comes back to such a
// place gets more than the last time, and who arrives exactly at its end is
// taken to be sequential and is fetched for before he asks.
//
// Blob offsets in a picture, f being fetched before:
//
//	....ffffffffffff...........
//	        |      |
//	      near    next: where a sequential reader misses
//
// It is a value; its owner guards it.
type readahead struct {
	places [8]place
	clock  uint64
	read   bits // chunks that were read
}

// place is a neighbourhood of a blob that was fetched from.
type place struct {
	run        span  // the chunks that were fetched last
	offset     int64 // of the blob, where they end
	size       int64 // of the blob, of the run in bytes
	read       int64 // of these, how many somebody has read
	window     int64 // bytes of the blob that the last run was given
	again      bool  // somebody came back to it
	sequential bool  // the last run started where the one before ended
	used       uint64
}

// miss returns the window of bytes for a run that starts at chunk n, whose
// stream starts at offset of the blob, and whether it goes on where the last
// one there ended; first is the window to start with.
func (r *readahead) miss(n int, offset, first int64) (window int64, sequential bool) {
	p := r.near(offset)
	if p == nil {
		p = r.oldest()
		*p = place{window: first}
	} else {
		p.sequential = n == p.run.end
		if p.sequential || p.again || p.read*usedShare >= p.size {
			p.window = min(growth*p.window, maxWindow)
		}
		p.again = true
	}
	r.clock++
	p.used = r.clock
	return p.window, p.sequential
}

// fetched records the run that the last miss led to: its chunks, and where they
// start and end in the blob.
func (r *readahead) fetched(run span, from, to int64) {
	for i := range r.places {
		if p := &r.places[i]; p.used == r.clock {
			p.run, p.offset, p.size, p.read = run, to, to-from, 0
		}
	}
}

// readChunk records that chunk n, of size bytes of the blob, is read.
func (r *readahead) readChunk(n int, size int64) {
	if r.read.set(n) {
		return
	}
	for i := range r.places {
		if p := &r.places[i]; p.run.has(n) {
			p.read += size
		}
	}
}

// ahead reports whether a reader that has chunk n, whose stream starts at
// offset, is sequential and will soon reach the end of what was fetched. It
// returns the chunk to fetch from.
func (r *readahead) ahead(n int, offset int64) (next int, ok bool) {
	for i := range r.places {
		p := &r.places[i]
		if p.sequential && n < p.run.end && offset <= p.offset && p.offset-offset <= p.window/2 {
			return p.run.end, true
		}
	}
	return 0, false
}

// near returns the place that offset belongs to, or nil.
func (r *readahead) near(offset int64) *place {
	for i := range r.places {
		p := &r.places[i]
		if p.used != 0 && max(offset-p.offset, p.offset-offset) <= reach*p.window {
			return p
		}
	}
	return nil
}

func (r *readahead) oldest() *place {
	o := &r.places[0]
	for i := range r.places {
		if r.places[i].used < o.used {
			o = &r.places[i]
		}
	}
	return o
}

// bits is a set of small numbers.
type bits []uint64

// set puts n into the set and reports whether it was there.
func (b *bits) set(n int) (was bool) {
	for len(*b) <= n/64 {
		*b = append(*b, 0)
	}
	word, bit := &(*b)[n/64], uint64(1)<<(n%64)
	was = *word&bit != 0
	*word |= bit
	return was
}
