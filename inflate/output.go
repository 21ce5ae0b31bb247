package inflate

const (
	windowSize = 32 << 10

	// outputSize is how many bytes there is room for, with the window: few enough to be
	// in the cache of a core when they are handed out, many enough that moving the
	// window to the front costs little. It is a power of two.
	outputSize = 256 << 10

	// overrun is how many bytes the fast loop may write behind the position at which
	// it stops: three entries with two literals and one match. padding is what the
	// words by which it copies may reach behind these.
	overrun = 3*2 + maxMatch
	padding = 32

	// maxOffset is larger than any offset. It leaves room for sums of two.
	maxOffset = 1 << 61
)

// output is the last decompressed bytes.
type output struct {
	buf   [outputSize + padding]byte // buf[:pos] is inflated
	pos   int
	given int   // buf[:given] has been handed out
	off   int64 // of buf[0] in the decompressed bytes
	limit int64 // no bytes from this offset on are wanted

	// low is the least position that a match may refer to without being looked at
	// (see Reader.far); first is the first byte of the member, or 0 if it is not in
	// buf any more.
	low, first int
}

func (o *output) reset(off int64) {
	o.pos, o.given, o.off, o.limit = 0, 0, off, maxOffset
	o.low, o.first = 0, 0
}

// offset returns that of the next byte in the decompressed bytes.
func (o *output) offset() int64 { return o.off + int64(o.pos) }

// stop returns the position from which on no more is inflated before what is there is
// handed out.
func (o *output) stop() int {
	return int(min(outputSize-overrun, o.limit-o.off))
}

// pending returns the bytes that were not handed out.
func (o *output) pending() []byte {
	end := int(min(int64(o.pos), o.limit-o.off))
	return o.buf[o.given:max(o.given, end)]
}

// done reports whether all bytes before the limit are inflated.
func (o *output) done() bool { return o.offset() >= o.limit }

// slide moves the window to the front and returns how far; all bytes have been handed
// out.
func (o *output) slide() int {
	if o.pos <= windowSize {
		return 0
	}
	n := o.pos - windowSize
	copy(o.buf[:], o.buf[n:o.pos])
	o.pos, o.given = windowSize, windowSize
	o.off += int64(n)
	o.low, o.first = max(0, o.low-n), max(0, o.first-n)
	return n
}
