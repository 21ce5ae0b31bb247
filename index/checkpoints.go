package index

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ladle-dev/ladle/inflate"
)

// Spans is gzip with the points of a ztoc. A stream begins at a point, with the byte that has its
// first bits, and ends with the byte that has the first bits of the next one, so that two streams
// may have one byte in common. The digest of a chunk is not its own, but that of the compressed
// bytes of its stream.
const Spans Compression = "spans"

// sealsStreams reports whether chunks have the digest of their stream.
func (c Compression) sealsStreams() bool { return c == Spans }

// hasPoints reports whether streams begin at points.
func (c Compression) hasPoints() bool { return c == Points || c == Spans }

// overlap is how many bytes of a stream may be the first ones of the next stream, too.
func (c Compression) overlap() int64 {
	if c == Spans {
		return 1
	}
	return 0
}

// begin returns where in the blob the stream begins that begins at a point.
func (c Compression) begin(p inflate.Place) int64 {
	if c == Spans && p.Bits > 0 {
		return p.In - 1
	}
	return p.In
}

// maxSpan bounds the compressed bytes of a stream of Spans, which are verified together.
const maxSpan = 64 << 20

// The checkpoints of a ztoc for gzip are the number of spans, the bytes of the tar that are at least
// between two, and for each span where it begins in the blob and in the tar, how many bits of it are in
// the byte before, and the 32 KiB of the tar before it (soci-snapshotter, ztoc/compression).
// Numbers are little-endian. The first version of it leaves out the first checkpoint.
const (
	checkpointsHeader = 4 + 8
	checkpointWindow  = 32 << 10
	checkpointSize    = 8 + 8 + 1 + checkpointWindow
	usualGzipHeader   = 10 // bytes
)

// checkpoint is where a span begins.
type checkpoint struct {
	inflate.Place        // without Head, which is in the blob
	window        []byte // as much of the tar before it as there is, up to 32 KiB
}

// readCheckpoints reads the checkpoints of a blob of size bytes: at least one.
func readCheckpoints(b []byte, size int64) ([]checkpoint, error) {
	if len(b) < checkpointsHeader {
		return nil, errors.New("no checkpoints")
	}
	n := int64(int32(binary.LittleEndian.Uint32(b)))
	b = b[checkpointsHeader:]
	var all []checkpoint
	switch int64(len(b)) {
	case n * checkpointSize:
	case (n - 1) * checkpointSize:
		all = append(all, checkpoint{Place: inflate.Place{In: usualGzipHeader}})
	default:
		return nil, fmt.Errorf("%d checkpoints in %d bytes", n, len(b))
	}
	for ; len(b) > 0; b = b[checkpointSize:] {
		c := checkpoint{Place: inflate.Place{
			In: int64(binary.LittleEndian.Uint64(b)), Out: int64(binary.LittleEndian.Uint64(b[8:])), Bits: b[16],
		}}
		if c.Out >= 0 && c.Out < checkpointWindow {
			c.window = b[checkpointSize-c.Out : checkpointSize]
		} else {
			c.window = b[checkpointSize-checkpointWindow : checkpointSize]
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("no checkpoints")
	}
	return all, checkCheckpoints(all, size)
}

// checkCheckpoints makes sure that spans follow one another, and end within a blob of size bytes.
func checkCheckpoints(all []checkpoint, size int64) error {
	for i, c := range all {
		end := size
		if i+1 < len(all) {
			end = all[i+1].In
		}
		begin := Spans.begin(c.Place)
		switch {
		case c.In < 0 || c.Out < 0 || c.Out > maxInner || c.Bits > 7:
			return fmt.Errorf("span %d begins %d bits before %d of the blob, at %d of the tar", i, c.Bits, c.In, c.Out)
		case i == 0 && (c.Out != 0 || c.Bits != 0):
			return errors.New("the first span is not the beginning of the tar")
		case i > 0 && (begin <= Spans.begin(all[i-1].Place) || c.Out < all[i-1].Out):
			return fmt.Errorf("span %d begins before the one before", i)
		case end <= begin || end-begin > maxSpan:
			return fmt.Errorf("span %d is [%d,%d) of the blob", i, begin, end)
		}
	}
	return nil
}

// encodePoints returns the list of the points of spans.
func encodePoints(all []checkpoint) ([]byte, error) {
	var e inflate.Encoder
	for _, c := range all {
		p := inflate.Point{Place: c.Place}
		if n := len(c.window); n > 0 {
			p.Window = inflate.Window{Runs: []inflate.Run{{Back: n, Len: n}}, Bytes: c.window}
		}
		if err := e.Add(p); err != nil {
			return nil, err
		}
	}
	return e.Bytes(), nil
}
