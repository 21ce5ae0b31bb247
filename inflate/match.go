package inflate

import "encoding/binary"

// copyMatch writes m at o. It may write up to 15 bytes behind it.
func copyMatch(buf []byte, o int, m match) {
	from, end := o-m.dist, o+m.length
	switch {
	case m.dist >= m.length:
		copy(buf[o:end], buf[from:])
	case m.dist == 1:
		word := uint64(buf[from]) * 0x0101010101010101
		for ; o < end; o += 8 {
			binary.LittleEndian.PutUint64(buf[o:], word)
		}
	case m.dist >= 8:
		for ; o < end; o += 8 {
			binary.LittleEndian.PutUint64(buf[o:], binary.LittleEndian.Uint64(buf[from:]))
			from += 8
		}
	default:
		// Each step doubles what repeats.
		for o < end {
			o += copy(buf[o:end], buf[from:o])
		}
	}
}
