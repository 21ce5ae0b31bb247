package inflate

// status is why a loop has stopped.
type status uint8

const (
	atStop    status = iota // there is no room for more output, or too little input
	atEnd                   // the block is complete
	atInvalid               // a code that is none
	atMatch                 // a match that begins before output.low
	atEOF                   // the input ends within a symbol
)

// fast inflates symbols while there are margin bytes of input and the output has not
// reached stop. It leaves a match that begins before low to its caller, with nothing of it
// written.
//
// The bits: three entries of the first level take at most 33 of the 56 that a refill
// guarantees, a length that follows 20; after another refill a distance takes 28. Of n
// only the low 6 bits count, so that a whole entry can be subtracted from it.
func fast(in *input, out *output, t *tables, stop int) (m match, s status) {
	hold, n, pos, o := in.hold, uint64(in.n), in.pos, out.pos
	last := in.end - margin
	for pos <= last && o < stop {
		hold |= in.word(pos) << (n & 63)
		pos += int(^n & 63 >> 3)
		n |= 56
		e := t.lit[hold&(1<<litBits-1)]
		if e&entryLiteral != 0 {
			hold, n = hold>>(e&dropMask), n-uint64(e)
			out.put2(o, uint16(e>>literalShift))
			o += int(e >> countShift & 3)
			e = t.lit[hold&(1<<litBits-1)]
			if e&entryLiteral != 0 {
				hold, n = hold>>(e&dropMask), n-uint64(e)
				out.put2(o, uint16(e>>literalShift))
				o += int(e >> countShift & 3)
				e = t.lit[hold&(1<<litBits-1)]
				if e&entryLiteral != 0 {
					hold, n = hold>>(e&dropMask), n-uint64(e)
					out.put2(o, uint16(e>>literalShift))
					o += int(e >> countShift & 3)
					continue
				}
			}
		}
		if e&entryOther != 0 {
			if e&entryLink != 0 {
				hold, n = hold>>litBits, n-litBits
				e = t.lit[link(e, hold)&(litEntries-1)]
			}
			if e&entryLiteral != 0 {
				hold, n = hold>>(e&dropMask), n-uint64(e)
				out.put2(o, uint16(e>>literalShift))
				o++
				continue
			}
			if e&(entryOther|entryExtra) == entryOther {
				hold, n = hold>>(e&dropMask), n-uint64(e)
				s = ended(e)
				break
			}
			e += entry(hold) & (1<<(e&dropMask) - 1) >> (e >> codeShift & 15) << valueShift
		}
		m.length = int(e >> valueShift & 511)
		hold, n = hold>>(e&dropMask), n-uint64(e)

		hold |= in.word(pos) << (n & 63)
		pos += int(^n & 63 >> 3)
		n |= 56
		e = t.dist[hold&(1<<distBits-1)]
		if e&entryOther != 0 {
			if e&entryLink != 0 {
				hold, n = hold>>distBits, n-distBits
				e = t.dist[link(e, hold)&(distEntries-1)]
			}
			if e&entryOther != 0 {
				s = atInvalid
				break
			}
		}
		m.dist = value(e, hold)
		hold, n = hold>>(e&dropMask), n-uint64(e)
		if m.dist > o-out.low {
			s = atMatch
			break
		}
		if m.dist >= 16 && m.length <= 32 {
			out.copy16(o, o-m.dist)
			out.copy16(o+16, o+16-m.dist)
		} else {
			out.copyMatch(o, m)
		}
		o += m.length
	}
	in.hold, in.n, in.pos, out.pos = hold, uint(n&63), pos, o
	return m, s
}

// link returns the index of the entry of the second level to which e leads; hold has the
// bits after those of the first level.
func link(e entry, hold uint64) entry {
	return e>>valueShift&(litEntries-1) + entry(hold)&(1<<(e>>codeShift&15)-1)
}

// value returns the length or distance of an entry and its extra bits.
func value(e entry, hold uint64) int {
	return int(e>>valueShift) + int(hold&masks[e&dropMask]>>(e>>codeShift&15))
}

// masks are numbers of so many ones.
var masks = func() (m [64]uint64) {
	for i := range m {
		m[i] = 1<<i - 1
	}
	return m
}()

// ended is the status after an entry that is neither literals nor a length.
func ended(e entry) status {
	if e&entryEnd != 0 {
		return atEnd
	}
	return atInvalid
}
