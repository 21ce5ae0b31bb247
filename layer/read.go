package layer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/store"
)

// ReadAt fills p from off of the data file, fetching what is absent. It
// returns len(p) or an error; p must end within the data file. What cannot be
// fetched is tried again until ctx ends, or for the set's read timeout; then the
// error is ErrTimeout with what the latest try came to.
func (l *Layer) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if n, ok := l.readLocal(p, off); ok {
		l.set.opts.Reads.Local(n)
		l.started(p, off)
		return n, nil
	}
	start := time.Now()
	n, err := l.readWaiting(ctx, p, off)
	l.set.opts.Reads.Done(answer(ctx, err), n, time.Since(start))
	if err != nil {
		return n, fmt.Errorf("layer %s [%d,%d): %w", l.ID().Blob, off, off+int64(len(p)), err)
	}
	l.started(p, off)
	return n, nil
}

// answer returns how a read is counted that ended with err.
func answer(ctx context.Context, err error) metrics.Read {
	switch {
	case err == nil:
		return metrics.ReadWaited
	case errors.Is(ctx.Err(), context.Canceled):
		return metrics.ReadAborted
	}
	return metrics.ReadError // also if ctx said that the reader's time is over
}

// readLocal is ReadAt for what is all present; it is not ok if something is not.
func (l *Layer) readLocal(p []byte, off int64) (n int, ok bool) {
	losses := l.data.Losses() // before it is asked what is present
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

// maxLosses is how often a read starts again because the disk lost what was
// written to it.
const maxLosses = 3

// readWaiting is ReadAt for what is not all present.
func (l *Layer) readWaiting(ctx context.Context, p []byte, off int64) (n int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.set.opts.ReadTimeout, ErrTimeout)
	defer cancel()
	need := l.overlap(off, int64(len(p)))
	for range maxLosses {
		var kept []piece
		if kept, err = l.ensure(ctx, need); err == nil {
			n, err = l.assemble(p, off, need, kept)
		}
		if !errors.Is(err, store.ErrLost) {
			break
		}
		l.distrust(err)
	}
	return n, err
}

// distrust keeps chunks in memory for a while, because the disk loses them.
func (l *Layer) distrust(err error) {
	if l.set.memory.distrust() {
		log.G(l.ctx).WithError(err).Warn("the disk lost chunks: new ones are kept in memory for a while")
	}
}

// assemble fills p with the chunks of need, which are present or kept. It
// returns store.ErrLost if some of them are no longer present: a disk that
// loses bytes may say so only when they are read.
func (l *Layer) assemble(p []byte, off int64, need span, kept []piece) (n int, err error) {
	losses := l.data.Losses()
	if !l.present(need, kept) {
		return 0, store.ErrLost
	}
	if n = len(p); len(kept) == need.end-need.first {
		clear(p) // what lies between chunks
	} else if n, err = l.data.ReadSince(losses, p, off); err != nil {
		return n, err
	}
	for _, k := range kept {
		k.copyTo(p, off)
	}
	return n, nil
}

// piece is a chunk that is in memory.
type piece struct {
	n   int
	off int64 // in the data file
	p   []byte
}

// copyTo copies what p, for the bytes of the data file at off, lacks.
func (k piece) copyTo(p []byte, off int64) {
	from, to := max(off, k.off), min(off+int64(len(p)), k.off+int64(len(k.p)))
	copy(p[from-off:to-off], k.p[from-k.off:])
}

// present reports whether all chunks of s are present but for those kept.
func (l *Layer) present(s span, kept []piece) bool {
	for n := s.first; n < s.end; n++ {
		if len(kept) > 0 && kept[0].n == n {
			kept = kept[1:]
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

// ensure makes the chunks of need present. It returns those for which the disk
// has no room.
func (l *Layer) ensure(ctx context.Context, need span) (kept []piece, err error) {
	for n := need.first; n < need.end; n++ {
		for l.data.State(n) != store.Present {
			if p := l.set.memory.get(chunkID{l.Number(), n}); p != nil {
				off := l.table.At(n).DataOffset
				if l.set.room() == roomAsked && l.data.Fill(n, off, p) == nil {
					continue // now that it is asked for
				}
				kept = append(kept, piece{n, off, p})
				break
			}
			// A run ends early that has kept much in memory, where the
			// next look finds it unless this reader is slow.
			if err := l.obtain(ctx, n, need.end); err != nil && !errors.Is(err, errNoRoom) {
				return nil, err
			}
		}
	}
	l.readAhead(need)
	return kept, nil
}

// obtain waits until the n-th chunk was fetched, or verified again. A reader
// that needs the chunks up to end lets one run fetch them all.
func (l *Layer) obtain(ctx context.Context, n, end int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.data.State(n) == store.Doubtful {
		return l.recheck(ctx, n)
	}
	for {
		r := l.join(n, end)
		if r == nil {
			return nil // became present meanwhile
		}
		if err := l.await(ctx, r, n); !errors.Is(err, errGivenUp) {
			return err
		}
	}
}

// recheck verifies a chunk that was written during an earlier boot.
func (l *Layer) recheck(ctx context.Context, n int) error {
	c := l.table.At(n)
	taken, err := l.set.budget.read(ctx, c.Size)
	if err != nil {
		return err
	}
	defer taken.release()
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
