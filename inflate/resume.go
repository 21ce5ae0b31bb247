package inflate

import (
	"errors"
	"fmt"
	"io"
	"sort"
)

// ErrPoint is the error of a point that OnPoint does not give.
var ErrPoint = errors.New("inflate: no such point")

// Resume returns the n decompressed bytes from p.Out on, over the ends of blocks and
// members. r has the compressed bytes from p.In on. The Reader ends after n bytes,
// and needs no more of r than they take: if it ends where the next point begins, the bytes
// up to that one can be had. It ends before if the last member does, as it does
// for an n of math.MaxInt64.
//
// The bytes are those that the whole stream decompresses to, if p is one of its points and
// r is not damaged. The error is ErrPoint; that of reading is ErrCorrupt or
// io.ErrUnexpectedEOF, as for NewReader, also if a match refers to bytes that p.Window has
// not. But whether the bytes are right only their digest can tell: the checksum of a member
// is compared only if its beginning was read, and n is larger than what is left of it.
func Resume(r io.Reader, p Point, n int64) (*Reader, error) {
	z := new(Reader)
	return z, z.ResetAt(r, p, n)
}

// ResetAt makes z what Resume returns. Its buffers are kept.
func (z *Reader) ResetAt(r io.Reader, p Point, n int64) error {
	if err := p.check(); err != nil {
		return err
	}
	z.Reset(r)
	z.in.off = p.In
	if !p.Header {
		z.state = inMember
		z.member.whole = false
		z.in.hold, z.in.n = uint64(p.Head), uint(p.Bits)
	}
	z.resume = resumed{active: true, runs: p.Window.Runs}
	o := &z.out
	o.pos, o.given, o.low = windowSize, windowSize, windowSize
	o.first = windowSize - int(min(windowSize, p.Out))
	o.off = p.Out - windowSize
	if n < o.limit-p.Out {
		o.limit = p.Out + max(0, n)
	}
	z.member.summed = windowSize
	rest := p.Window.Bytes
	for _, run := range p.Window.Runs {
		copy(o.buf[windowSize-run.Back:], rest[:run.Len])
		rest = rest[run.Len:]
	}
	return nil
}

// resumed is the point at which a Reader has begun.
type resumed struct {
	active bool
	runs   []Run
}

// has reports whether n bytes from back bytes before the point on are in its window.
func (r *resumed) has(back, n int) bool {
	// The first run that ends after its beginning; they go on towards the point.
	i := sort.Search(len(r.runs), func(i int) bool { return r.runs[i].Back-r.runs[i].Len < back })
	return i < len(r.runs) && r.runs[i].Back >= back && r.runs[i].Back-r.runs[i].Len <= back-n
}

// check returns ErrPoint if p cannot be used.
func (p Point) check() error {
	switch {
	case p.In < 0 || p.In > maxOffset || p.Out < 0 || p.Out > maxOffset || p.Bits > 7 || p.Bits > 0 && p.In == 0 || p.Head>>p.Bits != 0:
		return fmt.Errorf("%w: %d bits, %#x, before %d, output %d", ErrPoint, p.Bits, p.Head, p.In, p.Out)
	case p.Header && (p.Bits > 0 || len(p.Window.Runs) > 0):
		return fmt.Errorf("%w: a member with bits or a window", ErrPoint)
	}
	end := int64(min(windowSize, p.Out))
	total := 0
	for _, r := range p.Window.Runs {
		if r.Len < 1 || r.Len > r.Back || int64(r.Back) > end {
			return fmt.Errorf("%w: run of %d bytes, %d before it", ErrPoint, r.Len, r.Back)
		}
		end = int64(r.Back-r.Len) - 1
		total += r.Len
	}
	if total != len(p.Window.Bytes) {
		return fmt.Errorf("%w: %d bytes in runs of %d", ErrPoint, len(p.Window.Bytes), total)
	}
	return nil
}
