package layer

import (
	"errors"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/store"
)

var (
	// errNoRoom is what a run ends with when the disk takes no chunks.
	errNoRoom = errors.New("no room for the layer's bytes")

	errNoSource = errors.New("no image names the blob")
)

// fetch makes the chunks of r present, from one source after the other. A
// host that sends wrong bytes is given no second chance, its source is.
func (l *Layer) fetch(r *run) error {
	err := errNoSource
	for _, blob := range l.sources.blobs() {
		for range maxLies {
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

// maxLies is from how many hosts of one source a run takes wrong bytes.
const maxLies = 3

// stream fetches what r still lacks in one request.
func (l *Layer) stream(r *run, blob *fetch.Blob) error {
	first, last := l.table.At(r.at()), l.table.At(r.span.end-1)
	body, err := blob.Range(l.ctx, first.BlobOffset, last.BlobEnd-first.BlobOffset)
	if err != nil {
		return err
	}
	defer body.Close()
	in := newInput(body, first.BlobOffset)
	for n := r.at(); n < r.span.end; n = r.at() {
		if err := l.unpack(in, r, n); err != nil {
			if errors.Is(err, errWrongBytes) {
				l.set.opts.Chunks.Mismatched()
				body.Blame()
			}
			return err
		}
	}
	// A connection is used again if its answer was read to the end: that of the
	// last stream, which no chunk needs.
	if in.left(last.BlobEnd) <= maxGap {
		_ = in.skipTo(last.BlobEnd)
	}
	return nil
}

// unpack reads the stream at which the n-th chunk starts and makes all its
// chunks present. Since r.at() may be in the middle of a stream when a run is
// tried again, chunks of the stream before the n-th are skipped.
func (l *Layer) unpack(in input, r *run, n int) error {
	head := l.table.At(n)
	if err := in.skipTo(head.BlobOffset); err != nil {
		return err
	}
	s := &stream{in: in, compression: l.table.Compression()}
	defer s.close()
	for ; n < r.span.end && l.table.At(n).BlobOffset == head.BlobOffset; n++ {
		if l.data.State(n) != store.Present {
			if err := l.fill(s, r, n); err != nil {
				return err
			}
		}
		r.advance(n + 1)
	}
	return nil
}

// fill reads the n-th chunk from its stream, verifies and keeps it.
func (l *Layer) fill(s *stream, r *run, n int) error {
	c := l.table.At(n)
	p := buffers.get(c.Size)
	defer buffers.put(p)
	if err := s.read(p, c.InnerOffset); err != nil {
		return err
	}
	if err := verify(c, p); err != nil {
		return err
	}
	l.set.opts.Chunks.Verified(c.Size)
	if !l.set.memory.distrusts() {
		err := l.data.Fill(n, c.DataOffset, p)
		if err == nil || errors.Is(err, store.ErrLost) {
			return err
		}
		if !l.set.memory.inUse() {
			log.G(l.ctx).WithError(err).Warn("the disk takes no chunks: they are kept in memory for a while")
		}
	}
	l.set.memory.put(chunkID{l.Number(), n}, p)
	if r.inMemory += c.Size; r.inMemory > runMemory {
		return errNoRoom
	}
	return nil
}
