package inflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"
	"sort"
)

// An encoded list of points is
//
//	listMagic
//	frame of the places
//	for each group of groupSize points: frame of gaps, frame of lengths, frame of bytes
//	CRC32C of all that, 4 bytes, little endian
//
// where a frame is its length and a zstd frame, and all numbers are as in
// binary.AppendUvarint. The places are the number of points, and four columns: the bits of
// Head with a 1 above them, or 0 for a member (a byte each); how many runs a window has; In
// and Out, each as the difference from the point before. A gap is the number of bytes that are not kept before
// a run: from the end of the run before it, or for the first one from 32 KiB before the
// point.
//
// Columns, and windows apart from where they are, make it a quarter smaller than windows
// with zeros in them; groups, so that one window can be had without the others, cost 3 %.
const (
	listMagic = "points\x00\x01" // the last byte is the version
	groupSize = 8

	// maxPoints is how many a list can have. An entry of the columns has at most 23
	// bytes: one, and numbers of 15 and 63 bits.
	maxPoints = 1 << 20
	maxPlaces = maxPoints * 23
	// maxGroup bounds a column of a group: a window has at most windowSize/2 runs, and
	// their numbers have 16 bits.
	maxGroup = groupSize * windowSize / 2 * 3
)

// ErrList is the error of bytes that are no list of points.
var ErrList = errors.New("inflate: no list of points")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// listEntry is how many bytes of memory a List takes for a point, without its window: a Place
// and the number of its runs.
const listEntry = 40

// List is a list of points. It has 40 bytes for each point, and their windows encoded in the
// bytes that Decode was given: about 1.5 KiB for each.
type List struct {
	places []Place
	runs   []int // of each window
	data   []byte
	groups []int // offset of each in data
}

// Decode returns the list that an Encoder has made. It keeps data.
//
// Its checksum finds what a disk has damaged. All else that is wrong is an error here or of
// Point, in memory that is bounded: some 24 MiB for the places while they are decoded, and
// 107 bytes for each byte of data; but whether a list is that of a blob, Decode cannot
// tell. The errors are ErrList.
func Decode(data []byte) (*List, error) {
	if len(data) < len(listMagic)+4 || string(data[:len(listMagic)]) != listMagic {
		return nil, fmt.Errorf("%w of this version", ErrList)
	}
	end := len(data) - 4
	if crc32.Checksum(data[:end], castagnoli) != binary.LittleEndian.Uint32(data[end:]) {
		return nil, fmt.Errorf("%w: checksum", ErrList)
	}
	l := &List{data: data[:end]}
	places, off, err := l.frame(len(listMagic), placesDecoder(), maxPlaces)
	if err != nil {
		return nil, err
	}
	if err := l.decodePlaces(places); err != nil {
		return nil, err
	}
	for i := 0; i < len(l.places); i += groupSize {
		l.groups = append(l.groups, off)
		for range 3 {
			if _, off, err = l.frameAt(off); err != nil {
				return nil, err
			}
		}
	}
	if off != end {
		return nil, fmt.Errorf("%w: %d bytes behind the last window", ErrList, end-off)
	}
	return l, nil
}

// Len returns the number of points.
func (l *List) Len() int { return len(l.places) }

// Place returns that of point i.
func (l *List) Place(i int) Place { return l.places[i] }

// Find returns the last point that is not behind out, an offset in the decompressed bytes;
// -1 if there is none.
func (l *List) Find(out int64) int {
	return sort.Search(len(l.places), func(i int) bool { return l.places[i].Out > out }) - 1
}

// Point returns point i. It takes the time to decompress the windows of 8 points, about
// 30 KiB.
func (l *List) Point(i int) (Point, error) {
	first := i - i%groupSize
	var columns [3][]byte
	off := l.groups[i/groupSize]
	for k := range columns {
		var err error
		if columns[k], off, err = l.frame(off, groupDecoder(), maxGroup); err != nil {
			return Point{}, err
		}
	}
	r := reader{gaps: columns[0], lens: columns[1], bytes: columns[2]}
	for k := first; ; k++ {
		p := Point{Place: l.places[k], Window: r.window(l.runs[k])}
		if err := errors.Join(r.err, p.check()); err != nil {
			return Point{}, fmt.Errorf("%w: point %d: %w", ErrList, k, err)
		}
		if k == i {
			p.Window.Bytes = slices.Clone(p.Window.Bytes)
			return p, nil
		}
	}
}

// decodePlaces reads the columns of the places.
func (l *List) decodePlaces(b []byte) error {
	n, b := number(b, maxPoints)
	// An entry has a byte in each column, a group one in the length of each frame.
	if b == nil || n > len(b)/4 || n > len(l.data)/3*groupSize {
		return fmt.Errorf("%w: number of points", ErrList)
	}
	l.places, l.runs = make([]Place, n), make([]int, n)
	for i := range l.places {
		if b[i] == 0 {
			l.places[i].Header = true
			continue
		}
		n := bits.Len8(b[i]) - 1
		l.places[i].Bits, l.places[i].Head = uint8(n), b[i]&^(1<<n)
	}
	b = b[n:]
	for i := range l.runs {
		l.runs[i], b = number(b, windowSize/2)
	}
	var at int
	for i := range l.places {
		at, b = sum(at, b)
		l.places[i].In = int64(at)
	}
	at = 0
	for i := range l.places {
		at, b = sum(at, b)
		l.places[i].Out = int64(at)
		if err := (Point{Place: l.places[i]}).check(); err != nil {
			return fmt.Errorf("%w: %w", ErrList, err)
		}
	}
	if b == nil || len(b) > 0 {
		return fmt.Errorf("%w: places", ErrList)
	}
	return nil
}
