package inflate

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frameAt returns the frame at off of a list, and the offset behind it.
func (l *List) frameAt(off int) ([]byte, int, error) {
	n, rest := number(l.data[off:], len(l.data))
	if rest == nil || n > len(rest) {
		return nil, 0, fmt.Errorf("%w: length of a frame at %d", ErrList, off)
	}
	return rest[:n], len(l.data) - len(rest) + n, nil
}

// frame returns the content of the frame at off, at most limit bytes, and the offset
// behind it.
func (l *List) frame(off int, d *zstd.Decoder, limit int) ([]byte, int, error) {
	frame, off, err := l.frameAt(off)
	if err != nil {
		return nil, 0, err
	}
	content, err := d.DecodeAll(frame, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrList, err)
	}
	if len(content) > limit {
		return nil, 0, fmt.Errorf("%w: frame of %d bytes", ErrList, len(content))
	}
	return content, off, nil
}

// number returns the number at the beginning of b, and the bytes behind it; nil if it is
// none or larger than most.
func number(b []byte, most int) (int, []byte) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > uint64(most) {
		return 0, nil
	}
	return int(v), b[n:]
}

// sum adds the number at the beginning of b to a.
func sum(a int, b []byte) (int, []byte) {
	v, b := number(b, math.MaxInt-a)
	return a + v, b
}

// reader reads the windows of a group, one after the other.
type reader struct {
	gaps, lens, bytes []byte
	err               error
}

// window returns the next window, of n runs.
func (r *reader) window(n int) (w Window) {
	if n > min(len(r.gaps), len(r.lens)) {
		r.err = fmt.Errorf("%w: %d runs", ErrPoint, n)
		return Window{}
	}
	w.Runs = make([]Run, n)
	back, total := windowSize, 0
	for i := range w.Runs {
		var gap, length int
		gap, r.gaps = number(r.gaps, back)
		length, r.lens = number(r.lens, windowSize)
		back -= gap
		w.Runs[i] = Run{Back: back, Len: length}
		back -= length
		total += length
		if r.gaps == nil || r.lens == nil || back < 0 || total > len(r.bytes) {
			r.err = fmt.Errorf("%w: run %d", ErrPoint, i)
			return Window{}
		}
	}
	w.Bytes, r.bytes = r.bytes[:total], r.bytes[total:]
	return w
}

var (
	placesDecoder = sync.OnceValue(func() *zstd.Decoder { return newDecoder(maxPlaces) })
	groupDecoder  = sync.OnceValue(func() *zstd.Decoder { return newDecoder(maxGroup) })
)

// newDecoder returns a decoder that takes no more than about limit bytes.
func newDecoder(limit uint64) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(limit))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}
