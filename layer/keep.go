package layer

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/containerd/log"
	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/index"
	"github.com/ladle-dev/ladle/store"
)

// What a layer's tar has besides chunks is kept when it passes: tar headers and padding are
// in the streams of chunks. When the layer is full, its tar can be rebuilt without a further
// download: see prove.

const (
	// keepAtOnce is the number of bytes of rests that make a record.
	keepAtOnce = 64 << 10

	// largestRest bounds the rest of a stretch that is kept when it passes. More than
	// keepAtOnce bytes of it need memory of keepMemory. A rest that is not kept is fetched
	// when the layer is proved.
	largestRest = 1 << 20
	keepMemory  = 16 << 20
)

// keeping is the memory for large rests, of all layers of a process.
var keeping = semaphore.NewWeighted(keepMemory / largestRest)

// keeps reports whether rests are kept of the layer: its tar is not known yet, and it is not
// confirmed with the whole blob.
func (l *Layer) keeps() bool {
	return provable(l.table.Compression()) && !l.isUnconfirmed() && !l.proof.known.isKnown()
}

// provable reports whether a layer with this compression has a table of contents: others
// were imported.
func provable(c index.Compression) bool { return c == index.Gzip || c == index.Zstd }

// keeper keeps the rests of the stretches of a part of a run. A nil keeper keeps nothing.
type keeper struct {
	layer     *Layer
	stretches []stretch // complete ones
	rests     []byte    // of these, and of the next one as far as it was read
	complete  int       // bytes of rests that are of complete stretches
	large     bool      // largestRest bytes were acquired of keeping
	dropped   bool      // the next stretch is not kept
}

func (l *Layer) newKeeper() *keeper {
	if !l.keeps() {
		return nil
	}
	return &keeper{layer: l}
}

// Write implements io.Writer: it adds bytes to the rest of the next stretch. It never fails.
func (k *keeper) Write(p []byte) (int, error) {
	size := len(k.rests) - k.complete + len(p)
	switch {
	case k.dropped:
		return len(p), nil
	case size > keepAtOnce && !k.large:
		k.large = keeping.TryAcquire(1)
		k.dropped = !k.large
	case size > largestRest:
		k.dropped = true
	}
	if !k.dropped {
		k.rests = append(k.rests, p...)
	}
	return len(p), nil
}

// end ends the next stretch, which is [from, to) of the blob. It is kept if it was read to
// its end.
func (k *keeper) end(from, to int64, whole bool) {
	if whole && !k.dropped {
		k.stretches = append(k.stretches, stretch{from, to, int64(len(k.rests) - k.complete)})
		k.complete = len(k.rests)
	}
	k.rests, k.dropped = k.rests[:k.complete], false
	if k.complete >= keepAtOnce {
		k.flush()
	}
}

// flush stores what was kept. An error only means that it is fetched later.
func (k *keeper) flush() {
	if k == nil {
		return
	}
	if len(k.stretches) > 0 && k.layer.set.disk.state().takesAhead() {
		record := encodeRecord(k.stretches, k.rests[:k.complete])
		if err := k.layer.data.KeepRest(record, k.layer.restLimit()); err != nil {
			log.G(k.layer.ctx).WithError(err).Debug("what a layer has besides chunks is not kept")
		}
	}
	if k.large {
		keeping.Release(1)
	}
	*k = keeper{layer: k.layer}
}

// restLimit bounds the bytes that are kept of the layer's rests: the blob is larger than what
// is needed. Stretches are kept twice if their chunks were fetched twice.
func (l *Layer) restLimit() int64 {
	n := l.table.Len()
	if n == 0 {
		return store.MaxRest
	}
	return l.table.At(n-1).BlobEnd + store.MaxRest
}

// endOf returns where a range of the blob ends that has the n-th chunk last: behind the
// headers that may follow it in streams of their own, if they are few.
func (l *Layer) endOf(n int) int64 {
	end := l.table.At(n).BlobEnd
	if !l.keeps() {
		return end
	}
	if next := l.table.StreamAfter(l.table.At(n).BlobOffset); next > end && next-end <= maxGap {
		return next
	}
	return end
}

var stretchInputs = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// kept is a stream that is read to its end, of which the rest is kept.
type kept struct {
	*keeper
	from, to int64 // of the stretch
	buffer   *bufio.Reader
}

// keepStretch lets s read the stretch [from, to) of the blob, which is next in its input.
func (k *keeper) keepStretch(s *stream, from, to int64) *kept {
	if k == nil {
		return nil
	}
	t := &kept{k, from, to, stretchInputs.Get().(*bufio.Reader)}
	t.buffer.Reset(io.LimitReader(s.in.Reader, to-from))
	s.in.Reader, s.rest, s.stretch = t.buffer, k, true
	return t
}

// finish reads the stretch to its end, if what was read of it before was right.
func (t *kept) finish(s *stream, right bool) {
	if t == nil {
		return
	}
	whole := right && !t.dropped && s.plain != nil
	for whole && !t.dropped {
		_, err := io.CopyN(t, s.plain, keepAtOnce)
		if errors.Is(err, io.EOF) {
			break
		}
		whole = err == nil
	}
	t.end(t.from, t.to, whole)
	t.buffer.Reset(nil)
	stretchInputs.Put(t.buffer)
}
