package layer

import (
	"errors"

	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/store"
)

var (
	// errNoRoom is what a run ends with when the disk takes no chunks.
	errNoRoom = errors.New("no room for the layer's bytes")

	errNoSource = errors.New("no image names the blob")
)

// fetchFrom makes the chunks of r present, from one source after the other. A
// host that sends wrong bytes is given no second chance, its source is.
func (l *Layer) fetchFrom(sources []*fetch.Blob, r *run) error {
	err := errNoSource
	lies := maxLies
	if r.again {
		lies = 1
	}
	for _, blob := range sources {
		for range lies {
			err = l.stream(r, blob)
			if !errors.Is(err, errWrongBytes) {
				break
			}
		}
		if err == nil || l.ctx.Err() != nil || errors.Is(err, errNoRoom) {
			return err
		}
	}
	return err
}

// maxLies is from how many hosts of one source a run takes wrong bytes at first.
const maxLies = 3

// stream fetches what r still lacks in one request. What it has read is
// unpacked while it reads on.
func (l *Layer) stream(r *run, blob *fetch.Blob) error {
	lacks := span{r.at(), r.end}
	from := l.table.At(lacks.first).BlobOffset
	body, err := blob.Range(l.ctx, from, l.table.At(lacks.end-1).BlobEnd-from)
	if err != nil {
		return err
	}
	defer body.Close()
	unpackers, ctx := errgroup.WithContext(l.ctx)
	unpackers.SetLimit(parallelParts)
	for lacks.first < lacks.end && err == nil {
		p := l.part(lacks)
		unpackers.Go(func() error { return l.unpackPart(r, p) })
		err = p.feed(ctx, l.set.budget, body)
		lacks.first = p.end
	}
	if unpacked := unpackers.Wait(); unpacked != nil {
		err = unpacked
	}
	if r.at() == r.end {
		return nil // what broke is behind the last chunk
	}
	var wrong *wrongStream
	if errors.As(err, &wrong) {
		l.set.opts.Chunks.Mismatched()
		body.Blame(wrong.from, wrong.to)
	}
	return err
}

// unpack reads the stream that the n-th chunk is in and makes that chunk and
// those behind it present, where they are not. It returns the first chunk of
// the next stream.
func (l *Layer) unpack(in input, r *run, n int) (next int, err error) {
	head := l.table.At(n)
	if err := in.skipTo(head.BlobOffset); err != nil {
		return 0, err
	}
	if need := l.memoryOf(in, span{n, r.end}); need > 0 {
		taken, err := l.set.budget.unpack(l.ctx, r, need)
		if err != nil {
			return 0, err
		}
		defer taken.release()
	}
	s := &stream{in: in, compression: l.table.Compression()}
	defer s.close()
	for ; n < r.end && l.table.At(n).BlobOffset == head.BlobOffset; n++ {
		if l.data.State(n) != store.Present {
			if err := l.fill(s, r, n); err != nil {
				return 0, err
			}
		}
		r.done(n)
	}
	return n, nil
}

// memoryOf returns how many bytes of memory it takes to unpack the stream with the
// first chunk of s, at which in stands: for its decompressor, and for the largest
// of its chunks in s that are not present. If all are it is nothing.
func (l *Layer) memoryOf(in input, s span) int64 {
	var largest int64
	for n, off := s.first, l.table.At(s.first).BlobOffset; n < s.end; n++ {
		c := l.table.At(n)
		if c.BlobOffset != off {
			break
		}
		if l.data.State(n) != store.Present {
			largest = max(largest, c.Size)
		}
	}
	if largest == 0 {
		return 0
	}
	return largest + l.table.Compression().Memory(in.Reader)
}

// fill reads the n-th chunk from its stream, verifies and keeps it: on disk, or where
// that has no room in memory. A run that no reader asked for ends then.
func (l *Layer) fill(s *stream, r *run, n int) error {
	unasked := !r.asked.has(n) && l.set.room() != roomAll
	if unasked && r.asked == (span{}) {
		return errNoRoom
	}
	c := l.table.At(n)
	p, err := buffers.get(c.Size)
	if err != nil {
		return err
	}
	defer buffers.put(p)
	if err := s.read(p, c.InnerOffset); err != nil {
		return err
	}
	if err := verify(c, p); err != nil {
		return err
	}
	l.set.opts.Chunks.Verified(c.Size)
	if !unasked && !l.set.memory.distrusts() {
		err := l.data.Fill(n, c.DataOffset, p)
		if err == nil || errors.Is(err, store.ErrLost) {
			return err
		}
		if l.set.memory.refuse() {
			log.G(l.ctx).WithError(err).Warn("the disk takes no chunks: they are kept in memory for a while")
		}
	}
	l.set.memory.put(chunkID{l.Number(), n}, p)
	if r.inMemory.Add(c.Size) > runMemory {
		return errNoRoom
	}
	return nil
}
