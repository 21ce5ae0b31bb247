package inflate

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Encoder encodes points as they are found: Add fits OnPoint. The zero value is ready.
type Encoder struct {
	n                    int
	last                 Place
	heads, runs, in, out []byte // columns of the places
	gaps, lens, bytes    []byte // of the windows of the current group
	groups               []byte
}

// Add takes another point, which lies behind the one before; ErrPoint if it does not, or
// if there are a million.
func (e *Encoder) Add(p Point) error {
	if err := p.check(); err != nil {
		return err
	}
	if e.n == maxPoints {
		return fmt.Errorf("%w: a list has at most %d", ErrPoint, maxPoints)
	}
	if p.In < e.last.In || p.Out < e.last.Out {
		return fmt.Errorf("%w: not behind the one before", ErrPoint)
	}
	head := p.Head | 1<<p.Bits
	if p.Header {
		head = 0
	}
	e.heads = append(e.heads, head)
	e.runs = binary.AppendUvarint(e.runs, uint64(len(p.Window.Runs)))
	e.in = binary.AppendUvarint(e.in, uint64(p.In-e.last.In))
	e.out = binary.AppendUvarint(e.out, uint64(p.Out-e.last.Out))
	e.last = p.Place
	end := windowSize
	for _, r := range p.Window.Runs {
		e.gaps = binary.AppendUvarint(e.gaps, uint64(end-r.Back))
		e.lens = binary.AppendUvarint(e.lens, uint64(r.Len))
		end = r.Back - r.Len
	}
	e.bytes = append(e.bytes, p.Window.Bytes...)
	if e.n++; e.n%groupSize == 0 {
		e.groups = e.appendGroup(e.groups)
		e.gaps, e.lens, e.bytes = e.gaps[:0], e.lens[:0], e.bytes[:0]
	}
	return nil
}

// Size returns about how many bytes of memory the points take that were added, here and in
// the List of them.
func (e *Encoder) Size() int {
	n := e.n * listEntry
	for _, b := range [][]byte{e.gaps, e.lens, e.bytes, e.groups} {
		n += len(b)
	}
	return n
}

// Bytes returns the list of the points that were added. More can be added.
func (e *Encoder) Bytes() []byte {
	places := binary.AppendUvarint(nil, uint64(e.n))
	for _, column := range [][]byte{e.heads, e.runs, e.in, e.out} {
		places = append(places, column...)
	}
	b := appendFrame([]byte(listMagic), places)
	b = append(b, e.groups...)
	if e.n%groupSize > 0 {
		b = e.appendGroup(b)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func (e *Encoder) appendGroup(b []byte) []byte {
	for _, column := range [][]byte{e.gaps, e.lens, e.bytes} {
		b = appendFrame(b, column)
	}
	return b
}

func appendFrame(b, content []byte) []byte {
	frame := zstdEncoder().EncodeAll(content, nil)
	return append(binary.AppendUvarint(b, uint64(len(frame))), frame...)
}

// zstdEncoder has the level that is 1 % larger and five times faster than the best one.
var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})
