package layer

// Bounds of a window, in bytes of the blob: minFirst and maxFirst of the first run at a place,
// maxWindow of the following ones. They were chosen by replaying the reads of the start of
// Python programs, small and with large libraries, over links from 100 Mbit to 1 Gbit: smaller
// windows need more requests for the same time, larger ones fetch more bytes that are not
// read, which costs time on the slower links.
const (
	minFirst  = 256 << 10
	maxFirst  = 1 << 20
	maxWindow = 4 << 20
)

// reach is the distance from the end of the last run at a place, in windows, up to which
// an offset belongs to the place.
const reach = 8

// A window grows to growth times the last one when a reader returns to its place; the first time
// only if at least one in usedShare bytes of the last run was read.
const (
	growth    = 4
	usedShare = 4
)

// readahead predicts how much to fetch where a reader misses. It stores a few places with
// recent misses. A miss at a known place gets a larger window than the last one. A miss
// exactly at the end of the last run marks the place as sequential: the next run starts
// before the reader gets there.
//
// Offsets in the blob, where f was fetched before:
//
//	....ffffffffffff...........
//	        |      |
//	      near    next: where a sequential reader misses
//
// It is a value, guarded by its owner.
type readahead struct {
	places [8]place
	clock  uint64
	read   bits // set of chunks that were read
}

// place is a neighbourhood in the blob.
type place struct {
	run        span   // chunks of the last run
	offset     int64  // end of the run in the blob
	size       int64  // bytes of the run in the blob
	read       int64  // bytes of these that were read
	window     int64  // window of the last run, in bytes of the blob
	revisited  bool   // there was a second miss
	sequential bool   // the last run started where the one before ended
	used       uint64 // clock of the last miss
}

// miss returns the window in bytes for a run from chunk n on, with its stream at offset
// of the blob, and whether the run continues the last one at its place. first is the
// window at a new place.
func (r *readahead) miss(n int, offset, first int64) (window int64, sequential bool) {
	p := r.near(offset)
	if p == nil {
		p = r.oldest()
		*p = place{window: first}
	} else {
		p.sequential = n == p.run.end
		if p.sequential || p.revisited || p.read*usedShare >= p.size {
			p.window = min(growth*p.window, maxWindow)
		}
		p.revisited = true
	}
	r.clock++
	p.used = r.clock
	return p.window, p.sequential
}

// fetched records the run after the last miss: its chunks, and their range in the blob.
func (r *readahead) fetched(run span, from, to int64) {
	for i := range r.places {
		if p := &r.places[i]; p.used == r.clock {
			p.run, p.offset, p.size, p.read = run, to, to-from, 0
		}
	}
}

// readChunk records that chunk n, of size bytes of the blob, was read.
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

// ahead reports whether a reader of chunk n, with its stream at offset, is sequential and
// near the end of the fetched chunks, and returns the first chunk after these.
func (r *readahead) ahead(n int, offset int64) (next int, ok bool) {
	for i := range r.places {
		p := &r.places[i]
		if p.sequential && n < p.run.end && offset <= p.offset && p.offset-offset <= p.window/2 {
			return p.run.end, true
		}
	}
	return 0, false
}

// near returns the place of offset, or nil.
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

// set adds n to the set and reports whether the set had it.
func (b *bits) set(n int) (was bool) {
	for len(*b) <= n/64 {
		*b = append(*b, 0)
	}
	word, bit := &(*b)[n/64], uint64(1)<<(n%64)
	was = *word&bit != 0
	*word |= bit
	return was
}
