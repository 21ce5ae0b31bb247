package inflate

// Place is where a block or a member begins.
type Place struct {
	// In is the offset in the compressed bytes of the first byte that has nothing from
	// before the place: Resume reads from there on.
	In int64
	// A block begins Bits bits before In, at most 7: the highest ones of the byte there.
	// Head is what they are, with the first of them in bit 0.
	Bits, Head uint8
	// Out is the offset in the decompressed bytes, over all members.
	Out int64
	// Header is set if a member begins at In, else a block.
	Header bool
}

// Point is a place from which on a blob can be inflated.
type Point struct {
	Place
	// Window is what the bytes after the place refer to. A member refers to nothing.
	Window Window
}

// Window is those of the 32 KiB of decompressed bytes before a point that are copied to
// positions after it. Only the next 32 KiB after the point can refer to them (RFC 1951, 2),
// and these were looked at: so the window is enough for all that follows, for ever.
type Window struct {
	Runs  []Run // from the farthest one on; they do not touch
	Bytes []byte
}

// Run is a part of a window: the next Len of its Bytes are those that begin Back bytes
// before the point.
type Run struct{ Back, Len int }

// tracker finds points. While the 32 KiB after one are inflated, output.low is at it, and
// so all matches that refer to its window come to mark.
type tracker struct {
	spacing int64
	found   func(Point) error
	placed  func(Place) // may be nil
	last    int64       // offset of the last point in the decompressed bytes, if any
	any     bool        // there is one

	open  bool // point has not been told to found
	point Point
	full  []byte // the bytes before the point
	kept  [windowSize]bool
}

func (t *tracker) reset() {
	t.found, t.placed, t.any, t.open = nil, nil, false, false
}

// placeBlock makes a point of the block that begins, if it is far enough.
func (t *tracker) placeBlock(in *input, out *output) error {
	if t.found == nil || t.any && out.offset()-t.last < t.spacing {
		return nil
	}
	if err := t.settle(out, false); err != nil {
		return err
	}
	window := out.buf[max(out.first, out.pos-windowSize):out.pos]
	t.full = append(t.full[:0], window...)
	t.kept = [windowSize]bool{}
	bits := in.n % 8
	t.point = Point{Place: Place{
		In: in.byteOffset(), Bits: uint8(bits), Head: uint8(in.hold & (1<<bits - 1)), Out: out.offset(),
	}}
	t.open = true
	out.low = out.pos
	t.place(t.point.Place)
	return nil
}

// placeMember makes a point of the member whose header begins at before. It costs next to
// nothing, so that it need not be as far from the last one as a block.
func (t *tracker) placeMember(before int64, out *output) error {
	if t.found == nil || t.any && out.offset()-t.last < windowSize {
		return nil
	}
	p := Place{In: before, Out: out.offset(), Header: true}
	t.place(p)
	return t.found(Point{Place: p})
}

// place notes where the last point is.
func (t *tracker) place(p Place) {
	t.last, t.any = p.Out, true
	if t.placed != nil {
		t.placed(p)
	}
}

// mark keeps the bytes from back bytes before the point on that m copies.
func (t *tracker) mark(back int, m match) {
	if !t.open || back > len(t.full) {
		return
	}
	from := len(t.full) - back
	for i := from; i < min(len(t.full), from+m.length); i++ {
		t.kept[i] = true
	}
}

// settle tells the point if nothing that follows can refer to its window: the member ends
// or 32 KiB have passed.
func (t *tracker) settle(out *output, ends bool) error {
	if !t.open || !ends && out.offset() < t.point.Out+windowSize {
		return nil
	}
	t.open = false
	out.low = out.first
	p := t.point
	p.Window = sparse(t.full, t.kept[:len(t.full)])
	return t.found(p)
}

// sparse returns the bytes of full that are kept.
func sparse(full []byte, kept []bool) (w Window) {
	for i := 0; i < len(full); {
		if !kept[i] {
			i++
			continue
		}
		start := i
		for i < len(full) && kept[i] {
			i++
		}
		w.Runs = append(w.Runs, Run{Back: len(full) - start, Len: i - start})
		w.Bytes = append(w.Bytes, full[start:i]...)
	}
	return w
}
