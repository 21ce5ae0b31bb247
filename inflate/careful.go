package inflate

// careful inflates symbols as fast does, up to the last bit of the input: it is for the
// end of it, where there are less than margin bytes.
func careful(in *input, out *output, t *tables, stop int) (m match, s status) {
	for out.pos < stop {
		in.top()
		e := t.lit[in.hold&(1<<litBits-1)]
		if e&entryLiteral != 0 && uint(e&dropMask) > in.n {
			// Of two literals perhaps the first is complete.
			e = e&^(3<<countShift|dropMask) | 1<<countShift | e>>firstShift&15
		}
		if e&entryLink != 0 && e&entryOther != 0 {
			if in.n < litBits {
				return m, atEOF
			}
			in.drop(litBits)
			e = t.lit[link(e, in.hold)&(litEntries-1)]
		}
		if uint(e&dropMask) > in.n {
			return m, atEOF
		}
		if e&entryLiteral != 0 {
			in.drop(uint(e & dropMask))
			out.buf[out.pos], out.buf[out.pos+1] = byte(e>>literalShift), byte(e>>(literalShift+8))
			out.pos += int(e >> countShift & 3)
			continue
		}
		if e&(entryOther|entryExtra) == entryOther {
			in.drop(uint(e & dropMask))
			return m, ended(e)
		}
		m.length = value(e&^(entryOther|entryExtra), in.hold)
		in.drop(uint(e & dropMask))
		if m.dist, s = carefulDist(in, t); s != atStop {
			return m, s
		}
		if m.dist > out.pos-out.low {
			return m, atMatch
		}
		out.copyMatch(out.pos, m)
		out.pos += m.length
	}
	return m, atStop
}

func carefulDist(in *input, t *tables) (int, status) {
	in.top()
	e := t.dist[in.hold&(1<<distBits-1)]
	if e&entryOther != 0 && e&entryLink != 0 {
		if in.n < distBits {
			return 0, atEOF
		}
		in.drop(distBits)
		e = t.dist[link(e, in.hold)&(distEntries-1)]
	}
	if uint(e&dropMask) > in.n {
		return 0, atEOF
	}
	if e&entryOther != 0 {
		return 0, atInvalid
	}
	d := value(e, in.hold)
	in.drop(uint(e & dropMask))
	return d, atStop
}
