package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// stretch is a stretch of a layer's blob (package index), and the size of its rest, in bytes.
type stretch struct {
	from, to int64 // in the blob
	rest     int64
}

// A record has the rests of some stretches, as the store keeps it: the number of stretches,
// and of each of them from, to less from, and rest, all as varints; then the rests, one after
// the other, in a zstd frame.

// packers compress rests.
var packers = sync.Pool{New: func() any {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
	if err != nil {
		panic(err) // the options are constants
	}
	return w
}}

// recordHead returns what a record has before the frame.
func recordHead(stretches []stretch) []byte {
	b := binary.AppendUvarint(nil, uint64(len(stretches)))
	for _, s := range stretches {
		for _, n := range []int64{s.from, s.to - s.from, s.rest} {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	return b
}

// encodeRecord returns the record of stretches with the given rests.
func encodeRecord(stretches []stretch, rests []byte) []byte {
	w := packers.Get().(*zstd.Encoder)
	defer packers.Put(w)
	return w.EncodeAll(rests, recordHead(stretches))
}

var errRecord = errors.New("rest of a layer: not a record")

// decodeRecord returns the stretches of a record, and the frame with their rests.
func decodeRecord(record []byte) (stretches []stretch, frame []byte, err error) {
	number := func() int64 {
		n, size := binary.Uvarint(record)
		if size <= 0 || n > 1<<62 {
			err = errRecord
			return 0
		}
		record = record[size:]
		return int64(n)
	}
	for count := number(); count > 0 && err == nil; count-- {
		s := stretch{from: number(), to: number(), rest: number()}
		s.to += s.from
		stretches = append(stretches, s)
	}
	return stretches, record, err
}

// restAt is where the rest of a stretch is.
type restAt struct {
	stretch
	record int
	off    int64 // in the decompressed frame
}

// rests are the kept rests of a layer. They are read by one goroutine, best in their order.
type rests struct {
	frames [][]byte
	at     map[int64]restAt // by where stretches begin: the longest of those that do there

	decoder *zstd.Decoder
	record  int   // that decoder reads; -1: none
	pos     int64 // of decoder
}

func newRests() (*rests, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return &rests{at: map[int64]restAt{}, decoder: d, record: -1}, nil
}

func (r *rests) close() { r.decoder.Close() }

// add adds a record.
func (r *rests) add(record []byte) error {
	stretches, frame, err := decodeRecord(record)
	if err != nil {
		return err
	}
	off := int64(0)
	for _, s := range stretches {
		if s.to > r.at[s.from].to {
			r.at[s.from] = restAt{s, len(r.frames), off}
		}
		off += s.rest
	}
	r.frames = append(r.frames, frame)
	return nil
}

// reader returns a reader of the rest of a stretch. It is read to its end, or not at all,
// before the next one.
func (r *rests) reader(at restAt) (io.Reader, error) {
	if at.record != r.record || at.off < r.pos {
		if err := r.decoder.Reset(&frameReader{r.frames[at.record]}); err != nil {
			return nil, err
		}
		r.record, r.pos = at.record, 0
	}
	if _, err := io.CopyN(io.Discard, r.decoder, at.off-r.pos); err != nil {
		r.record = -1
		return nil, fmt.Errorf("rest of a layer: %w", err)
	}
	r.pos = at.off + at.rest
	return io.LimitReader(r.decoder, at.rest), nil
}

// frameReader reads a frame. Unlike a bytes.Reader it does not let the decoder decompress all
// of it at once.
type frameReader struct{ frame []byte }

func (f *frameReader) Read(p []byte) (int, error) {
	if len(f.frame) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.frame)
	f.frame = f.frame[n:]
	return n, nil
}
