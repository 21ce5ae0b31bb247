package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"sync"

	"github.com/ladle-dev/ladle/inflate"
)

// pointSpacing is how many bytes of the tar are between two points, and so about in a stream.
// The points of layers of Debian packages take 0.65 to 0.9 % of their blobs.
const pointSpacing = 640 << 10

// pointsMemory is how many bytes of memory the points of an import take before they are twice
// as far apart, and then before they are four times as far apart, and so on. Points of
// usual layers take so many for a tar of 5 GiB. So the memory grows with the logarithm of
// the tar, also if each window is as large as it can be, for which a few bytes of a
// blob are enough.
const pointsMemory = 16 << 20

// minDistance is how many bytes of the tar have to be between two points, when some were
// added that take size bytes: at first none, since the points of members take little.
func minDistance(size int) int64 {
	if size < pointsMemory {
		return 0
	}
	return pointSpacing << min(size/pointsMemory, 32)
}

// addPlace notes that a stream begins at p, if that is far enough from the last one.
func (u *unpacker) addPlace(p inflate.Place) {
	if n := len(u.begins); n > 0 && p.Out-u.begins[n-1].tar < minDistance(u.points.Size()) {
		return
	}
	u.begins = append(u.begins, beginning{p.In, p.Out})
}

// addPoint adds p if a stream begins there. A point comes after its place and before the next
// place.
func (u *unpacker) addPoint(p inflate.Point) error {
	if p.In != u.begins[len(u.begins)-1].blob {
		return nil
	}
	return u.points.Add(p)
}

// splitPoints takes the list of points from the end of t.records, if the compression has one.
func (t *Table) splitPoints() error {
	if !t.compression.hasPoints() {
		return nil
	}
	n := len(t.records) - 8
	if n < 0 {
		return errors.New("no points")
	}
	size := binary.LittleEndian.Uint64(t.records[n:])
	if size > uint64(n) {
		return errors.New("points of another size")
	}
	t.list, t.records = t.records[n-int(size):n], t.records[:n-int(size)]
	var err error
	t.points, err = inflate.Decode(t.list)
	return err
}

// pointOf returns the point at which the stream of c begins, or -1.
func (t Table) pointOf(c *Chunk) int {
	begin := func(i int) int64 { return t.compression.begin(t.points.Place(i)) }
	i := sort.Search(t.points.Len(), func(i int) bool { return begin(i) >= c.BlobOffset })
	if i < t.points.Len() && begin(i) == c.BlobOffset {
		return i
	}
	return -1
}

var inflaters = sync.Pool{New: func() any { return new(inflate.Reader) }}

// ErrPoints is the error of a table with a list of points that is wrong, although its checksum
// is right. DecodeTable does not look at their windows.
var ErrPoints = errors.New("chunk table: wrong points")

// NewReader returns a reader of the decompressed bytes of the stream of c, a chunk of the
// table; r stands at the first byte of the stream. It reads nothing behind the stream. Apart
// from that, and from ErrPoints, it is as Compression.NewReader.
func (t Table) NewReader(r *bufio.Reader, c Chunk) (io.ReadCloser, error) {
	if !t.compression.hasPoints() {
		return t.compression.NewReader(r)
	}
	i := t.pointOf(&c)
	if i < 0 {
		return nil, fmt.Errorf("%w: none at %d of the blob", ErrPoints, c.BlobOffset)
	}
	p, err := t.points.Point(i)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPoints, err)
	}
	if t.compression.sealsStreams() {
		return newSpan(r, c, p)
	}
	z := inflaters.Get().(*inflate.Reader)
	if err := z.ResetAt(io.LimitReader(r, c.BlobEnd-c.BlobOffset), p, math.MaxInt64); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPoints, err)
	}
	return &stream{z, func() {
		z.Reset(nil) // without r
		inflaters.Put(z)
	}}, nil
}
