package inflate

import "encoding/binary"

// match is what a length and a distance stand for.
type match struct{ length, dist int }

// copy16 copies 16 bytes; both positions are less than outputSize. Masks spare the checks
// of bounds.
func (o *output) copy16(to, from int) {
	to &= outputSize - 1
	from &= outputSize - 1
	*(*[16]byte)(o.buf[to : to+16]) = *(*[16]byte)(o.buf[from : from+16])
}

// put2 writes two bytes at i, which is less than outputSize.
func (o *output) put2(i int, v uint16) {
	i &= outputSize - 1
	binary.LittleEndian.PutUint16(o.buf[i:i+2], v)
}

// copyMatch writes m at position to. It may write up to 15 bytes behind it.
func (o *output) copyMatch(to int, m match) {
	buf := o.buf[:]
	from, end := to-m.dist, to+m.length
	switch {
	case m.dist >= m.length:
		copy(buf[to:end], buf[from:])
	case m.dist == 1:
		word := uint64(buf[from]) * 0x0101010101010101
		for ; to < end; to += 8 {
			binary.LittleEndian.PutUint64(buf[to:], word)
		}
	case m.dist >= 8:
		for ; to < end; to += 8 {
			binary.LittleEndian.PutUint64(buf[to:], binary.LittleEndian.Uint64(buf[from:]))
			from += 8
		}
	default:
		// Each step doubles what repeats.
		for to < end {
			to += copy(buf[to:end], buf[from:to])
		}
	}
}
