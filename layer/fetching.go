package layer

import (
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
)

var (
	// errNoRoom is the error of a run that ends because the disk does not take its chunks.
	errNoRoom = errors.New("no space for the layer's chunks")

	errNoSource = errors.New("no source image of the blob is known")
)

// fetchFrom makes the chunks of r present, trying one source after the other. A host that
// sends wrong bytes is not tried again, but its source is.
func (l *Layer) fetchFrom(sources []*fetch.Blob, r *run) error {
	err := errNoSource
	attempts := maxWrong
	if r.retried {
		attempts = 1
	}
	for _, blob := range sources {
		for range attempts {
			err = l.stream(r, blob)
			if !errors.Is(err, errWrongBytes) {
				break
			}
		}
		if err == nil || l.ctx.Err() != nil || errors.Is(err, errNoRoom) || errors.Is(err, index.ErrPoints) {
			return err
		}
	}
	return err
}

// maxWrong bounds the hosts of one source that a run accepts wrong bytes from in its
// first try.
const maxWrong = 3

// stream fetches the missing chunks of r in one request. Their bytes are decompressed
// while it reads on.
func (l *Layer) stream(r *run, blob *fetch.Blob) error {
	missing := span{r.head(), r.end}
	from := l.table.At(missing.first).BlobOffset
	body, err := blob.Range(l.ctx, from, l.endOf(missing.end-1)-from)
	if err != nil {
		return err
	}
	defer body.Close()
	unpackers, ctx := errgroup.WithContext(l.ctx)
	unpackers.SetLimit(parallelParts)
	bytes := &rereader{r: body, pos: from}
	for missing.first < missing.end && err == nil {
		p := l.part(missing)
		bytes.backTo(p.from)
		unpackers.Go(func() error { return l.unpackPart(r, p) })
		err = p.feed(ctx, l.set.budget, bytes)
		missing.first = p.end
	}
	if unpacked := unpackers.Wait(); unpacked != nil {
		err = unpacked
	}
	if r.head() == r.end {
		return nil // the error is after the last chunk
	}
	var wrong *wrongStream
	if errors.As(err, &wrong) {
		l.set.opts.Chunks.Mismatched()
		body.Blame(wrong.from, wrong.to)
	}
	return err
}

// unpack decompresses the stream with the n-th chunk, and makes the absent chunks of the
// stream from the n-th on present. to is where the next one begins in the part, or the part
// ends; the bytes up to there are kept by k. It returns the first chunk of the next stream.
func (l *Layer) unpack(in input, r *run, n int, to int64, k *keeper) (next int, err error) {
	head := l.table.At(n)
	from := head.BlobOffset
	if err := in.skipTo(from); err != nil {
		return 0, err
	}
	need := l.memoryOf(in, span{n, r.end})
	if need == 0 {
		k = nil // nothing is decompressed
	} else {
		memory, err := l.set.budget.unpack(l.ctx, r, need)
		if err != nil {
			return 0, err
		}
		defer memory.release()
	}
	s := &stream{in: in, table: l.table, first: head, rest: io.Discard}
	defer s.close()
	kept := k.keepStretch(s, from, to)
	defer func() { kept.finish(s, err == nil) }()
	first, _ := l.table.Chunks(from)
	if kept == nil {
		first = n
	}
	for next = first; next < r.end && l.table.At(next).BlobOffset == from; next++ {
		switch c := l.table.At(next); {
		case next >= n && l.data.State(next) != store.Present:
			err = l.fill(s, r, next)
		case kept != nil:
			err = s.skip(c.InnerOffset, c.Size)
		}
		if err != nil {
			return 0, err
		}
		if next >= n {
			r.markPresent(next)
		}
	}
	return next, nil
}

// memoryOf returns the bytes of memory that are needed to decompress the stream with the
// first chunk of s, at which in stands: for its decompressor, and for the largest absent
// chunk of the stream in s; zero if none is absent.
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
	return largest + l.table.Memory(in.Reader, l.table.At(s.first))
}

// runMemory is the number of bytes that the disk did not take after which a run ends.
const runMemory = 4 << 20

// fill reads the n-th chunk from its stream, verifies it and stores it: on disk, or in
// memory if the disk does not take it. A run that was not requested by a reader ends in
// that case.
func (l *Layer) fill(s *stream, r *run, n int) error {
	stored := r.requested.has(n) || l.set.disk.state().takesAhead()
	if !stored && r.requested == (span{}) {
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
	if err := l.verify(c, p); err != nil {
		return err
	}
	l.set.opts.Chunks.Verified(c.Size)
	if stored && l.set.disk.state().takesRequested() { // the state may have changed
		err := l.data.Fill(n, c.DataOffset, p)
		if err == nil || errors.Is(err, store.ErrLost) {
			return err
		}
		l.set.disk.recordRefusal(err)
	}
	l.set.caches.chunks.Add(chunkID{l.Number(), n}, slices.Clone(p), c.Size)
	if r.inMemory.Add(c.Size) > runMemory {
		return errNoRoom
	}
	return nil
}
