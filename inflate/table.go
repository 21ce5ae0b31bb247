package inflate

import "math/bits"

const (
	// litBits and distBits are the widths of the first levels of the tables.
	litBits  = 11
	distBits = 8

	// A table of 288 symbols of at most 15 bits has 2342 entries with a first level
	// of 11 bits, one of 32 symbols 402 with 8; powers of two, so that an index is
	// bounded by a mask.
	litEntries  = 4096
	distEntries = 512
)

// An entry says what the next bits mean; see the package comment for its fields.
type entry = uint32

const (
	entryLiteral entry = 1 << 31 // one or two literals
	entryOther   entry = 1 << 30 // neither literals nor a length or distance
	entryLink    entry = 1 << 29 // with entryOther: a table of the second level
	entryEnd     entry = 1 << 28 // with entryOther: the end of the block
	entryExtra   entry = 1 << 27 // with entryOther: a length with extra bits
	entryInvalid       = entryOther

	literalShift = 8  // the first literal, and the second above it
	countShift   = 24 // how many literals
	firstShift   = 26 // bits of the first literal's code, 4 bits wide
	codeShift    = 8  // bits of a length's or distance's code without its extra bits
	valueShift   = 15 // least length or distance; first entry of a table
	dropMask     = 63 // bits of the code and its extra bits
)

// tables are the two codes of a block.
type tables struct {
	lit  [litEntries]entry
	dist [distEntries]entry
}

// litEntry is the entry of a symbol of the literal/length alphabet, without its code.
func litEntry(sym uint16) entry {
	switch {
	case sym < endOfBlock:
		return entryLiteral | 1<<countShift | entry(sym)<<literalShift
	case sym == endOfBlock:
		return entryOther | entryEnd
	case int(sym) <= endOfBlock+len(lengths):
		l := lengths[sym-endOfBlock-1]
		return l.least<<valueShift | l.extra
	}
	return entryInvalid
}

// distEntry is litEntry for the distance alphabet.
func distEntry(sym uint16) entry {
	if int(sym) >= len(distances) {
		return entryInvalid
	}
	return distances[sym].least<<valueShift | distances[sym].extra
}

var (
	litEntryOf  = entriesOf[[288]entry](litEntry)
	distEntryOf = entriesOf[[32]entry](distEntry)
)

func entriesOf[A [288]entry | [32]entry](of func(uint16) entry) (a A) {
	for i := range len(a) {
		a[i] = of(uint16(i))
	}
	return a
}

// withCode adds a code of n bits to an entry.
func withCode(e entry, n uint) entry {
	switch {
	case e&entryLiteral != 0:
		return e | entry(n)<<firstShift | entry(n)
	case e&entryOther != 0:
		return e | entry(n)
	}
	return e + entry(n)<<codeShift + entry(n)
}

// code is a Huffman code: the symbols in the order of their codes.
type code struct {
	count [maxCode + 1]uint16 // how many symbols have a code of so many bits
	syms  [288]uint16
}

// set makes the code of the given lengths. It reports whether it is one: as in zlib, all
// codes are taken, or there is none, or only one of 1 bit (RFC 1951, 3.2.7: "If only one
// distance code is used, it is encoded using one bit").
func (c *code) set(lens []uint8) bool {
	c.count = [maxCode + 1]uint16{}
	for _, l := range lens {
		c.count[l&15]++
	}
	used := len(lens) - int(c.count[0])
	var next [maxCode + 1]uint16
	left := 1
	for l := 1; l <= maxCode; l++ {
		left = left<<1 - int(c.count[l])
		if left < 0 {
			return false
		}
		if l < maxCode {
			next[l+1] = next[l] + c.count[l]
		}
	}
	for sym, l := range lens {
		if l != 0 {
			c.syms[next[l&15]] = uint16(sym)
			next[l&15]++
		}
	}
	return left == 0 || used == 0 || used == 1 && c.count[1] == 1
}

// fill makes the table of c, with a first level of root bits. of are the entries of the
// symbols; len(t) is enough for any code that set has accepted.
func (c *code) fill(t []entry, of []entry, root uint) {
	t[0], t[1] = entryInvalid|1, entryInvalid|1
	var rev uint // the code with its first bit in bit 0
	next := 0
	for n := uint(1); n <= root; n++ {
		for range c.count[n] {
			t[rev] = withCode(of[c.syms[next]], n)
			next++
			rev = increment(rev, n)
		}
		if n < root {
			copy(t[1<<n:2<<n], t[:1<<n])
		}
	}
	c.fillSecond(t, of, root, second{next: next, rev: rev})
}

// second is where the codes begin that are longer than the first level is wide.
type second struct {
	next int
	rev  uint
}

func (c *code) fillSecond(t []entry, of []entry, root uint, s second) {
	start, end := 0, 1<<root // of the current table of the second level
	prefix := ^uint(0)
	var width uint
	for n := root + 1; n <= maxCode; n++ {
		for k := range c.count[n] {
			if p := s.rev & (1<<root - 1); p != prefix {
				prefix = p
				width = c.width(n, root, int(c.count[n]-k))
				start, end = end, end+1<<width
				t[p] = entryOther | entryLink | entry(start)<<valueShift | entry(width)<<codeShift | entry(root)
			}
			e := withCode(of[c.syms[s.next]], n-root)
			for i := start + int(s.rev>>root); i < end; i += 1 << (n - root) {
				t[i] = e
			}
			s.next++
			s.rev = increment(s.rev, n)
		}
	}
}

// width returns how many bits select an entry of a table of the second level whose first
// code has n bits; left are the codes of n bits that are not yet in a table.
func (c *code) width(n, root uint, left int) uint {
	w := n - root
	for used := left; used < 1<<w && root+w < maxCode; {
		w++
		used = used<<1 + int(c.count[root+w])
	}
	return w
}

// increment returns the code after rev, both of n bits and reversed.
func increment(rev, n uint) uint {
	free := rev ^ (1<<n - 1)
	if free == 0 {
		return 0
	}
	top := uint(1) << (bits.Len(free) - 1)
	return rev&(top-1) | top
}

// widen puts more into the entries of the first level of a table for literals and lengths:
// a second literal, if the remaining bits are the code of one; or the extra bits of a
// length, which is then exact. What is left of lengths with extra bits is marked by
// entryOther, so that the common ones need not be told from them.
func widen(t *[litEntries]entry) {
	for i := 1<<litBits - 1; i >= 0; i-- {
		e := t[i]
		n := e & dropMask
		if e&entryLiteral != 0 {
			// A smaller index, hence not widened yet, or i itself.
			f := t[i>>n&(litEntries-1)]
			if m := n + f&dropMask; f&entryLiteral != 0 && m <= litBits {
				f = f >> literalShift & 0xff
				t[i] = e&^(dropMask|3<<countShift) | 2<<countShift | f<<(literalShift+8) | m
			}
		} else if e&entryOther == 0 {
			c := e >> codeShift & 15
			if n > litBits {
				t[i] = e | entryOther | entryExtra
			} else if n > c {
				t[i] = e&^(15<<codeShift) + entry(i)>>c&(1<<(n-c)-1)<<valueShift + n<<codeShift
			}
		}
	}
}
