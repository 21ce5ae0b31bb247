package inflate

import "io"

// Memory is how many bytes a Reader takes, about.
const Memory = 512 << 10

// Reader inflates gzip members.
type Reader struct {
	in     input
	out    output
	block  block
	member member
	points tracker
	resume resumed

	state state
	err   error // what follows the pending bytes
}

// state is what comes next in the input.
type state uint8

const (
	atFirstHeader state = iota
	atHeader            // of another member
	inMember            // a block, or what is left of it
	atTrailer
	raw // a block, but no trailer and no other member follow: for tests
)

// NewReader returns the bytes that the gzip members of r decompress to. It reads ahead.
//
// The errors are those of r; io.ErrUnexpectedEOF if it ends too soon; ErrCorrupt. The
// bytes before an error are right as far as a checksum was read for them, else they are
// what a correct decompressor gives for the bytes before the damage.
func NewReader(r io.Reader) *Reader {
	z := new(Reader)
	z.Reset(r)
	return z
}

// Reset makes z what NewReader returns for r, without OnPoint. Its buffers are kept.
func (z *Reader) Reset(r io.Reader) {
	z.in.reset(r, 0)
	z.out.reset(0)
	z.member = member{}
	z.points.reset()
	z.resume = resumed{}
	z.block.kind = none
	z.state, z.err = atFirstHeader, nil
}

// OnPoint has f called for points. The first is at the beginning of the first member. A
// block is a point if it begins at least spacing bytes of output after the last point,
// a member if it begins at least 32 KiB after it. A spacing of less than 32 KiB is one of
// 32 KiB. OnPoint is called before the first Read; what Resume returns tells no points.
//
// The calls come in the order of the points, from Read or WriteTo, before their io.EOF; a
// point is known when another 32 KiB are inflated or its member ends. An error of f ends
// the Reader.
func (z *Reader) OnPoint(spacing int64, f func(Point) error) {
	if !z.resume.active {
		z.points.spacing, z.points.found = max(spacing, windowSize), f
	}
}

// OnPlace has f called for the place of each point of OnPoint as soon as it is found, before
// Read or WriteTo give any byte behind it: so that what is made of the bytes can be cut
// there.
func (z *Reader) OnPlace(f func(Place)) { z.points.placed = f }

// Read implements io.Reader.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := z.next()
	n := copy(p, b)
	z.out.given += n
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// WriteTo implements io.WriterTo, with up to 256 KiB at a time.
func (z *Reader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		b, err := z.next()
		if len(b) > 0 {
			k, err := w.Write(b)
			n += int64(k)
			z.out.given += k
			if err == nil && k < len(b) {
				err = io.ErrShortWrite
			}
			if err != nil {
				return n, err
			}
			continue
		}
		if err == io.EOF {
			return n, nil
		}
		return n, err
	}
}

// next returns bytes that were not handed out, or an error.
func (z *Reader) next() ([]byte, error) {
	for {
		if p := z.out.pending(); len(p) > 0 || z.err != nil {
			return p, z.err
		}
		z.member.summed -= z.out.slide()
		z.err = z.inflate()
		z.member.sum(&z.out)
		if err := z.points.settle(&z.out, false); err != nil {
			z.err = err
		}
	}
}

// inflate goes on until the output is full. The error is io.EOF at the end.
func (z *Reader) inflate() error {
	for {
		if z.out.done() {
			return io.EOF
		}
		stop := z.out.stop()
		if z.out.pos >= stop {
			return nil
		}
		if err := z.step(stop); err != nil && !z.out.done() {
			return err
		}
	}
}

// step inflates up to the next change of what is read.
func (z *Reader) step(stop int) error {
	switch z.state {
	case atFirstHeader, atHeader:
		return z.beginMember()
	case atTrailer:
		z.member.sum(&z.out)
		z.state = atHeader
		if err := z.member.readTrailer(&z.in); err != nil {
			return err
		}
		z.in.align()
		return nil
	}
	switch z.block.kind {
	case none:
		if err := z.points.placeBlock(&z.in, &z.out); err != nil {
			return err
		}
		return z.block.begin(&z.in)
	case stored:
		return z.copyStored(stop)
	default:
		return z.inflateBlock(stop)
	}
}

func (z *Reader) beginMember() error {
	z.out.low, z.out.first = z.out.pos, z.out.pos
	before := z.in.byteOffset()
	if err := readHeader(&z.in, z.state == atFirstHeader); err != nil {
		return err
	}
	z.state = inMember
	z.member = member{summed: z.out.pos, whole: true}
	return z.points.placeMember(before, &z.out)
}

// endBlock is called after the last byte of a block.
func (z *Reader) endBlock() error {
	z.block.kind = none
	if !z.block.last {
		return nil
	}
	if z.state == raw {
		return io.EOF
	}
	z.in.drop(z.in.n % 8)
	z.state = atTrailer
	return z.points.settle(&z.out, true)
}

func (z *Reader) copyStored(stop int) error {
	if z.block.left > 0 {
		n, err := z.in.copyTo(z.out.buf[z.out.pos:min(stop, z.out.pos+z.block.left)])
		z.out.pos += n
		z.block.left -= n
		if err != nil {
			return err
		}
	}
	if z.block.left > 0 {
		return nil
	}
	return z.endBlock()
}

func (z *Reader) inflateBlock(stop int) error {
	z.in.fill()
	loop := fast
	if z.in.end-z.in.pos < margin {
		loop = careful
	}
	switch m, s := loop(&z.in, &z.out, z.block.codes, stop); s {
	case atEnd:
		return z.endBlock()
	case atInvalid:
		return z.in.corrupt("no such code")
	case atEOF:
		return z.in.short()
	case atMatch:
		return z.far(m)
	}
	return nil
}

// far writes a match that begins before out.low.
func (z *Reader) far(m match) error {
	o := &z.out
	if m.dist > o.pos-o.first {
		return z.in.corrupt("a match begins before the first byte")
	}
	back := o.low - (o.pos - m.dist)
	if z.resume.active && !z.resume.has(back, min(back, m.length)) {
		return z.in.corrupt("a match refers to bytes that the window of the point has not")
	}
	z.points.mark(back, m)
	o.copyMatch(o.pos, m)
	o.pos += m.length
	return nil
}
