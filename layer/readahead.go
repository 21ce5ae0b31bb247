package layer

// The bounds of a window, in bytes of the blob: of the first run at a place,
// and of the ones that follow. They were chosen by replaying the reads of a
// Python program's start, short and with large libraries, over links from
// 100 Mbit to 1 Gbit: smaller ones need more requests for the same time, larger
// ones fetch more that nobody reads, which costs time on the slower links.
const (
	minFirst  = 256 << 10
	maxFirst  = 640 << 10
	maxWindow = 6 << 20
)

// reach is how many windows before and behind the end of its last run a place
// reaches.
const reach = 6

// readahead guesses how much to fetch from where a reader misses. It
// remembers a few places where readers were lately. Who comes back to such a
// place gets twice as much as the last time, and who arrives exactly at its
// end is taken to be sequential and is fetched for before he asks.
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
}

// place is a neighbourhood of a blob that was fetched from.
type place struct {
	next       int   // the chunk behind the last one fetched
	offset     int64 // of the blob, where that chunk's stream starts
	window     int64 // bytes of the blob that the last run was given
	sequential bool  // the last run started where the one before ended
	used       uint64
}

// miss returns the window of bytes for a run that starts at chunk n, whose
// stream starts at offset of the blob; first is the window to start with.
func (r *readahead) miss(n int, offset, first int64) int64 {
	p := r.near(offset)
	if p == nil {
		p = r.oldest()
		*p = place{window: first}
	} else {
		p.sequential = n == p.next
		p.window = min(2*p.window, maxWindow)
	}
	r.clock++
	p.used = r.clock
	return p.window
}

// fetched records the end of the run that the last miss led to.
func (r *readahead) fetched(next int, offset int64) {
	for i := range r.places {
		if p := &r.places[i]; p.used == r.clock {
			p.next, p.offset = next, offset
		}
	}
}

// ahead reports whether a reader that has chunk n, whose stream starts at
// offset, is sequential and will soon reach the end of what was fetched. It
// returns the chunk to fetch from.
func (r *readahead) ahead(n int, offset int64) (next int, ok bool) {
	for i := range r.places {
		p := &r.places[i]
		if p.sequential && n < p.next && offset <= p.offset && p.offset-offset <= p.window/2 {
			return p.next, true
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
