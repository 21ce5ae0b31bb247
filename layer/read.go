package layer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// ReadAt fills p from offset off of the data file, and fetches absent chunks. p must end
// within the data file. It returns len(p) and nil, or an error. Failed fetches are
// retried until ctx ends or Options.ReadTimeout is over. The error is one of:
//
//   - ErrTimeout, wrapped with the error of the latest try (see package fetch) if there
//     was one; it matches context.DeadlineExceeded,
//   - the cause of the end of ctx,
//   - ErrWrong,
//   - store.ErrLost, if the disk loses chunks repeatedly, or another error of reading or
//     writing the data file,
//   - an error without a type of its own, if no source image of the layer is known,
//     memory for a chunk cannot be mapped, the layer was closed during the read, or its index
//     was found to be wrong.
func (l *Layer) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if l.proof.wrong.Load() {
		return 0, fmt.Errorf("layer %s: %w", l.ID().Blob, ErrWrong)
	}
	if n, ok := l.readLocal(p, off); ok {
		l.set.opts.Reads.Local(n)
		l.detectProgram(p, off)
		return n, nil
	}
	start := time.Now()
	n, err := l.readWaiting(ctx, p, off)
	l.set.opts.Reads.Done(answer(ctx, err), n, time.Since(start))
	if err != nil {
		return n, fmt.Errorf("layer %s [%d,%d): %w", l.ID().Blob, off, off+int64(len(p)), err)
	}
	l.detectProgram(p, off)
	return n, nil
}

// answer returns the metric of a read that ended with err.
func answer(ctx context.Context, err error) metrics.Read {
	switch {
	case err == nil:
		return metrics.ReadWaited
	case errors.Is(ctx.Err(), context.Canceled):
		return metrics.ReadAborted
	}
	return metrics.ReadError // also if the deadline of ctx is over
}

// readLocal is ReadAt for a range with all chunks present; ok is false if one is absent.
func (l *Layer) readLocal(p []byte, off int64) (n int, ok bool) {
	losses := l.data.Losses() // must be before present
	if l.data.Full() {
		n, err := l.data.ReadSince(losses, p, off)
		return n, err == nil
	}
	need := l.overlap(off, int64(len(p)))
	if !l.present(need, nil) {
		return 0, false
	}
	n, err := l.data.ReadSince(losses, p, off)
	l.readAhead(need)
	return n, err == nil
}

// maxLosses bounds how often a read is repeated because the disk lost chunks.
const maxLosses = 3

// readWaiting is ReadAt for a range with absent chunks.
func (l *Layer) readWaiting(ctx context.Context, p []byte, off int64) (n int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.set.opts.ReadTimeout, ErrTimeout)
	defer cancel()
	need := l.overlap(off, int64(len(p)))
	for range maxLosses {
		var cached []piece
		if cached, err = l.ensure(ctx, need); err == nil {
			n, err = l.assemble(p, off, need, cached)
		}
		if !errors.Is(err, store.ErrLost) {
			break
		}
		l.set.disk.recordLoss(err)
	}
	return n, err
}

// assemble fills p with the chunks of need, which are present or cached. It returns
// store.ErrLost if some are not present any more: a disk may report lost writes only at a
// read.
func (l *Layer) assemble(p []byte, off int64, need span, cached []piece) (n int, err error) {
	losses := l.data.Losses()
	if !l.present(need, cached) {
		return 0, store.ErrLost
	}
	if n = len(p); len(cached) == need.end-need.first {
		clear(p) // the gaps between chunks are zeros
	} else if n, err = l.data.ReadSince(losses, p, off); err != nil {
		return n, err
	}
	for _, k := range cached {
		k.copyTo(p, off)
	}
	return n, nil
}

// piece is a chunk in memory.
type piece struct {
	n   int
	off int64 // in the data file
	p   []byte
}

// copyTo copies the overlap of the chunk with [off, off+len(p)) of the data file into p.
func (k piece) copyTo(p []byte, off int64) {
	from, to := max(off, k.off), min(off+int64(len(p)), k.off+int64(len(k.p)))
	copy(p[from-off:to-off], k.p[from-k.off:])
}

// present reports whether all chunks of s are present, except those in cached.
func (l *Layer) present(s span, cached []piece) bool {
	for n := s.first; n < s.end; n++ {
		if len(cached) > 0 && cached[0].n == n {
			cached = cached[1:]
		} else if l.data.State(n) != store.Present {
			return false
		}
	}
	return true
}

// overlap returns the chunks that have bytes in [off, off+n).
func (l *Layer) overlap(off, n int64) span {
	first := l.table.Search(off)
	end := first
	for end < l.table.Len() && l.table.At(end).DataOffset < off+n {
		end++
	}
	return span{first, end}
}

// ensure makes the chunks of need present. It returns those that are cached instead,
// since the disk does not take them.
func (l *Layer) ensure(ctx context.Context, need span) (cached []piece, err error) {
	for n := need.first; n < need.end; n++ {
		for l.data.State(n) != store.Present {
			if p, ok := l.set.caches.chunks.Get(chunkID{l.Number(), n}); ok {
				off := l.table.At(n).DataOffset
				if l.set.disk.state() == diskLow && l.data.Fill(n, off, p) == nil {
					continue // a reader requests it now
				}
				cached = append(cached, piece{n, off, p})
				break
			}
			// errNoRoom: a run ends after it has cached runMemory bytes. The next
			// iteration finds the chunk in memory, unless this reader is slow.
			if err := l.obtain(ctx, n, need.end); err != nil && !errors.Is(err, errNoRoom) {
				return nil, err
			}
		}
	}
	l.readAhead(need)
	return cached, nil
}

// obtain waits until the n-th chunk was fetched, or verified again. A run that it starts
// fetches the chunks up to end.
func (l *Layer) obtain(ctx context.Context, n, end int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.data.State(n) == store.Doubtful {
		return l.reverify(ctx, n)
	}
	for {
		r := l.join(n, end)
		if r == nil {
			return nil // present by now
		}
		if err := l.await(ctx, r, n); !errors.Is(err, errAbandoned) {
			return err
		}
	}
}

// reverify verifies a chunk that was written before the last boot. If it cannot be verified by
// itself, it is to be fetched again.
func (l *Layer) reverify(ctx context.Context, n int) error {
	if l.table.SealsStreams() {
		return l.data.Mark(n, store.Absent)
	}
	c := l.table.At(n)
	memory, err := l.set.budget.read(ctx, c.Size)
	if err != nil {
		return err
	}
	defer memory.release()
	p, err := buffers.get(c.Size)
	if err != nil {
		return err
	}
	defer buffers.put(p)
	state := store.Present
	if _, err := l.data.ReadAt(p, c.DataOffset); err != nil || verify(c, p) != nil {
		state = store.Absent
	}
	return l.data.Mark(n, state)
}
