package inflate

import "sync"

// kind is how the bytes of a block are stored (RFC 1951, 3.2.3).
type kind uint8

const (
	none    kind = iota // between blocks
	stored              // as they are
	huffman             // as literals and matches
)

// block is the one that is being read.
type block struct {
	kind     kind
	last     bool
	left     int     // stored: bytes
	codes    *tables // huffman
	own      tables
	lit      code
	dist     code
	meta     [1 << 7]entry // the code of code lengths
	lens     [maxLiterals + maxDists]uint8
	metaLens [19]uint8
}

var fixed = sync.OnceValue(func() *tables {
	var t tables
	var c code
	c.set(fixedLengths[:])
	c.fill(t.lit[:], litEntryOf[:], litBits)
	widen(&t.lit)
	c.set(fixedDistances[:])
	c.fill(t.dist[:], distEntryOf[:], distBits)
	return &t
})

// begin reads the header of a block.
func (b *block) begin(in *input) error {
	h, err := in.bits(3)
	if err != nil {
		return err
	}
	b.last = h&1 != 0
	switch h >> 1 {
	case 0:
		return b.beginStored(in)
	case 1:
		b.kind, b.codes = huffman, fixed()
		return nil
	case 2:
		return b.beginDynamic(in)
	}
	return in.corrupt("unknown type of block")
}

// beginStored reads the length of a block (RFC 1951, 3.2.4).
func (b *block) beginStored(in *input) error {
	in.drop(in.n % 8)
	v, err := in.bits(32)
	if err != nil {
		return err
	}
	if uint16(v) != ^uint16(v>>16) {
		return in.corrupt("length of a stored block")
	}
	in.align()
	b.kind, b.left = stored, int(uint16(v))
	return nil
}

// beginDynamic reads the codes of a block (RFC 1951, 3.2.7).
func (b *block) beginDynamic(in *input) error {
	v, err := in.bits(14)
	if err != nil {
		return err
	}
	literals, dists, metas := int(v&31)+257, int(v>>5&31)+1, int(v>>10&15)+4
	if literals > maxLiterals || dists > maxDists {
		return in.corrupt("too many symbols")
	}
	if err := b.readMeta(in, metas); err != nil {
		return err
	}
	lens := b.lens[:literals+dists]
	if err := b.readLengths(in, lens); err != nil {
		return err
	}
	if lens[endOfBlock] == 0 {
		return in.corrupt("no code for the end of the block")
	}
	if !b.lit.set(lens[:literals]) {
		return in.corrupt("code of literals and lengths")
	}
	if !b.dist.set(lens[literals:]) {
		return in.corrupt("code of distances")
	}
	b.lit.fill(b.own.lit[:], litEntryOf[:], litBits)
	widen(&b.own.lit)
	b.dist.fill(b.own.dist[:], distEntryOf[:], distBits)
	b.kind, b.codes = huffman, &b.own
	return nil
}

// readMeta reads the code in which the lengths of the other two are written.
func (b *block) readMeta(in *input, n int) error {
	b.metaLens = [19]uint8{}
	for _, sym := range lengthOrder[:n] {
		v, err := in.bits(3)
		if err != nil {
			return err
		}
		b.metaLens[sym] = uint8(v)
	}
	var c code
	// Unlike the other two, this code must be complete.
	if !c.set(b.metaLens[:]) || c.count[0] >= 18 {
		return in.corrupt("code of code lengths")
	}
	c.fill(b.meta[:], metaEntryOf[:], 7)
	return nil
}

// metaEntryOf are the symbols of the code of code lengths as "distances" without extra bits.
var metaEntryOf = func() (e [19]entry) {
	for i := range e {
		e[i] = entry(i) << valueShift
	}
	return e
}()

// readLengths reads code lengths, in runs and one by one.
func (b *block) readLengths(in *input, lens []uint8) error {
	for i := 0; i < len(lens); {
		sym, err := b.metaSymbol(in)
		if err != nil {
			return err
		}
		if sym < 16 {
			lens[i] = sym
			i++
			continue
		}
		var value uint8
		least, extra := 3, uint(2)
		switch sym {
		case 16:
			if i == 0 {
				return in.corrupt("no code length to repeat")
			}
			value = lens[i-1]
		case 17:
			extra = 3
		case 18:
			least, extra = 11, 7
		}
		v, err := in.bits(extra)
		if err != nil {
			return err
		}
		n := least + int(v)
		if n > len(lens)-i {
			return in.corrupt("too many code lengths")
		}
		for range n {
			lens[i] = value
			i++
		}
	}
	return nil
}

func (b *block) metaSymbol(in *input) (uint8, error) {
	// Fewer than 7 bits can be enough at the end of the input.
	if in.n < 7 {
		in.fill()
		in.top()
	}
	e := b.meta[in.hold&(1<<7-1)]
	if err := in.want(uint(e & dropMask)); err != nil {
		return 0, err
	}
	in.drop(uint(e & dropMask))
	return uint8(e >> valueShift), nil
}
