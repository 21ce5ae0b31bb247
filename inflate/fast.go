package inflate

import "encoding/binary"

// status is why a loop has stopped.
type status uint8

const (
	atStop    status = iota // there is no room for more output, or too little input
	atEnd                   // the block is complete
	atInvalid               // a code that is none
	atMatch                 // a match that begins before output.low
	atEOF                   // the input ends within a symbol
)

// match is what a length and a distance stand for.
type match struct{ length, dist int }

// fast inflates symbols while there are margin bytes of input and the output has not
// reached stop. It leaves a match that begins before low to its caller, with nothing of it
// written.
//
// The bits: three entries of the first level take at most 33 of the 56 that a refill
// guarantees, a length that follows 20; after another refill a distance takes 28.
func fast(in *input, out *output, t *tables, stop int) (m match, s status) {
	buf, src := out.buf, in.buf[:in.end]
	hold, n, pos, o, low := in.hold, in.n, in.pos, out.pos, out.low
	last := len(src) - margin
loop:
	for pos <= last && o < stop {
		hold |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56
		e := t.lit[hold&(1<<litBits-1)]
		for k := 0; e&entryLiteral != 0; {
			hold, n = hold>>(e&dropMask), n-uint(e&dropMask)
			binary.LittleEndian.PutUint16(buf[o:], uint16(e>>literalShift))
			o += int(e >> countShift & 3)
			if k++; k == 3 {
				continue loop
			}
			e = t.lit[hold&(1<<litBits-1)]
		}
		if e&entryOther != 0 {
			if e&entryLink != 0 {
				hold, n = hold>>litBits, n-litBits
				e = t.lit[link(e, hold)&(litEntries-1)]
			}
			if e&entryLiteral != 0 {
				hold, n = hold>>(e&dropMask), n-uint(e&dropMask)
				buf[o] = byte(e >> literalShift)
				o++
				continue
			}
			if e&entryOther != 0 {
				hold, n = hold>>(e&dropMask), n-uint(e&dropMask)
				s = ended(e)
				break
			}
		}
		m.length = value(e, hold)
		hold, n = hold>>(e&dropMask), n-uint(e&dropMask)

		hold |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int(63-n) >> 3
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
		hold, n = hold>>(e&dropMask), n-uint(e&dropMask)
		if m.dist > o-low {
			s = atMatch
			break
		}
		if from := o - m.dist; m.dist >= 16 && m.length <= 32 {
			*(*[16]byte)(buf[o:]) = *(*[16]byte)(buf[from:])
			*(*[16]byte)(buf[o+16:]) = *(*[16]byte)(buf[from+16:])
		} else {
			copyMatch(buf, o, m)
		}
		o += m.length
	}
	in.hold, in.n, in.pos, out.pos = hold, n, pos, o
	return m, s
}

// link returns the index of the entry of the second level to which e leads; hold has the
// bits after those of the first level.
func link(e entry, hold uint64) entry {
	return e>>valueShift&(litEntries-1) + entry(hold)&(1<<(e>>codeShift&15)-1)
}

// value returns the length or distance of an entry and its extra bits.
func value(e entry, hold uint64) int {
	return int(e>>valueShift) + int(hold&(1<<(e&dropMask)-1)>>(e>>codeShift&15))
}

// ended is the status after an entry that is neither literals nor a length.
func ended(e entry) status {
	if e&entryEnd != 0 {
		return atEnd
	}
	return atInvalid
}
