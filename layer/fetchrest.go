package layer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/store"
)

// errStretch is the error of a blob that cannot be decompressed from a place to another one
// where its index says that streams begin.
var errStretch = errors.New("the blob cannot be decompressed")

// complete fetches the rests that kept does not have, and returns the size of the blob in
// bytes. What it fetches is kept for the next time.
func (l *Layer) complete(ctx context.Context, kept *rests) (size int64, err error) {
	err = l.fromAny(ctx, func(blob *fetch.Blob) (err error) {
		_, size, err = blob.Tail(ctx, 1)
		return err
	})
	if err != nil {
		return 0, err
	}
	for off := int64(0); off < size; {
		if at, ok := kept.at[off]; ok && at.to <= size {
			off = at.to
			continue
		}
		end := l.nextKept(off, size, kept)
		err := l.fromAny(ctx, func(blob *fetch.Blob) error { return l.fetchRests(ctx, blob, span64{off, end}, kept) })
		if err != nil {
			return 0, err
		}
	}
	return size, nil
}

// span64 is the bytes [from, to) of a blob.
type span64 struct{ from, to int64 }

// nextKept returns where the first stream behind off begins of which kept has the rest, or
// else size.
func (l *Layer) nextKept(off, size int64, kept *rests) int64 {
	for {
		next := l.table.StreamAfter(off)
		if next < 0 {
			return size
		}
		if _, ok := kept.at[next]; ok {
			return next
		}
		off = next
	}
}

// fromAny calls get for the layer's sources until one has it.
func (l *Layer) fromAny(ctx context.Context, get func(*fetch.Blob) error) error {
	err := errNoSource
	for _, blob := range l.sources.blobs() {
		if err = get(blob); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

// fetchRests fetches the range s of the blob, adds the rests of its stretches to kept, and
// keeps them.
func (l *Layer) fetchRests(ctx context.Context, blob *fetch.Blob, s span64, kept *rests) error {
	body, err := blob.Range(ctx, s.from, s.to-s.from)
	if err != nil {
		return err
	}
	defer body.Close()
	records, err := l.restsOf(&failing{Reader: body}, s)
	for _, record := range records {
		if err := kept.add(record); err != nil {
			return err
		}
		if l.set.disk.state().takesAhead() {
			if err := l.data.KeepRest(record, l.restLimit()); err != nil {
				return err
			}
		}
	}
	return err
}

// fetchWhole is fetchRests for a whole blob of size bytes, which must have the right digest.
func (l *Layer) fetchWhole(ctx context.Context, blob *fetch.Blob, size int64, kept *rests) error {
	whole := blob.Whole(ctx, size)
	defer whole.Close()
	sum := sha256.New()
	body := &failing{Reader: io.TeeReader(whole, sum)}
	records, err := l.restsOf(body, span64{0, size})
	if _, more := io.Copy(io.Discard, body); more != nil {
		return more
	}
	if got := digest.NewDigest(digest.SHA256, sum); got != l.ID().Blob {
		return fmt.Errorf("a registry sent another blob, %s", got)
	}
	for _, record := range records {
		if err := kept.add(record); err != nil {
			return err
		}
	}
	return err
}

// restsOf returns records with the rests of all stretches of a range s of the blob, of which
// body has the bytes. The error is that of body, or errStretch; some records are returned with
// an error, too.
func (l *Layer) restsOf(body *failing, s span64) (records [][]byte, err error) {
	p := packing{limit: store.MaxRest}
	outer := bufio.NewReaderSize(body, 64<<10)
	inner := bufio.NewReaderSize(nil, 32<<10)
	for off := s.from; off < s.to && err == nil; {
		to := l.table.StreamAfter(off)
		if to < 0 || to > s.to {
			to = s.to
		}
		inner.Reset(io.LimitReader(outer, to-off))
		first, end := l.table.Chunks(off)
		if err = l.table.Rest(&p, inner, first, end); err == nil {
			_, err = inner.Peek(1)
			if err == nil {
				err = errors.New("there is more than the stream")
			} else if errors.Is(err, io.EOF) {
				err = nil
			}
		}
		if err == nil {
			p.end(off, to)
		}
		off = to
	}
	switch {
	case body.err != nil:
		err = body.err
	case p.large:
		err = fmt.Errorf("%w: it has much more than the layer shows", errUndecided)
	case err != nil:
		err = fmt.Errorf("%w: %w", errStretch, err)
	}
	return p.records(), err
}

// packing compresses rests as they come, into records of some megabytes.
type packing struct {
	limit     int64 // bytes of all records
	done      [][]byte
	packed    bytes.Buffer
	w         *zstd.Encoder // nil: nothing was written to packed
	stretches []stretch
	size      int64 // bytes of the rest of the next stretch
	total     int64 // bytes of done
	large     bool  // there are more than limit bytes
}

var errLargeRest = errors.New("too many bytes")

// Write implements io.Writer.
func (p *packing) Write(b []byte) (int, error) {
	if p.w == nil {
		p.packed.Reset()
		p.w = packers.Get().(*zstd.Encoder)
		p.w.Reset(&p.packed)
	}
	if p.large = p.total+int64(p.packed.Len()) > p.limit; p.large {
		return 0, errLargeRest
	}
	p.size += int64(len(b))
	return p.w.Write(b)
}

// recordSize is the number of bytes from which on a record is complete.
const recordSize = 4 << 20

// end ends a stretch.
func (p *packing) end(from, to int64) {
	p.stretches = append(p.stretches, stretch{from, to, p.size})
	p.size = 0
	if p.packed.Len() > recordSize {
		p.flush()
	}
}

func (p *packing) flush() {
	if p.w != nil {
		_ = p.w.Close() // it writes to memory
		packers.Put(p.w)
		p.w = nil
	}
	if len(p.stretches) > 0 {
		p.done = append(p.done, append(recordHead(p.stretches), p.packed.Bytes()...))
		p.total += int64(p.packed.Len())
	}
	p.packed, p.stretches = bytes.Buffer{}, nil
}

func (p *packing) records() [][]byte {
	p.flush()
	return p.done
}
