package store

import (
	"fmt"
	"os"
)

// Fill writes p, the verified bytes of the n-th chunk, at off and marks it
// present. Blocks that are all zeros are left as holes. It may be called for
// one chunk by several at once, with equal bytes. After an error the chunk is
// not present; errors.Is finds unix.ENOSPC and the like. A data file that others
// may read (Whole) is not written to.
func (l *Layer) Fill(n int, off int64, p []byte) error {
	err := l.fill(n, off, p)
	if err != nil {
		return fmt.Errorf("store: fill chunk %d of layer %d: %w", n, l.Number(), err)
	}
	return nil
}

func (l *Layer) fill(n int, off int64, p []byte) error {
	if off < 0 || off > l.size-int64(len(p)) {
		return fmt.Errorf("%d bytes at %d of %d", len(p), off, l.size)
	}
	l.whole.mu.RLock()
	defer l.whole.mu.RUnlock()
	if l.whole.is.Load() {
		if l.State(n) == Present {
			return nil
		}
		return errWhole
	}
	since := l.Losses() // before emptied is asked, which later losses may change
	if err := l.emptied(); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	l.whole.filled.Store(true)
	if err := writeSparse(l.data, p, off); err != nil {
		return err
	}
	return l.marks.filled(n, since)
}

// writeSparse writes p to f at off. It leaves holes as they are where p has
// whole blocks of zeros.
func writeSparse(f *os.File, p []byte, off int64) error {
	for len(p) > 0 {
		n, zero := nextRun(p, off)
		hole := false
		if zero {
			data, end, err := nextData(f, off)
			if err != nil {
				return err
			}
			hole = data == end || data >= off+int64(n)
		}
		if !hole {
			if _, err := f.WriteAt(p[:n], off); err != nil {
				return err
			}
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// nextRun returns how many bytes at the start of p, which is for off, are in
// whole blocks of zeros or else how many are not.
func nextRun(p []byte, off int64) (n int, zero bool) {
	for n < len(p) {
		size := blockSize - int((off+int64(n))%blockSize)
		block := p[n:min(n+size, len(p))]
		z := len(block) == blockSize && isZero(block)
		if n == 0 {
			zero = z
		}
		if z != zero {
			break
		}
		n += len(block)
	}
	return n, zero
}

// Mark sets the state of the n-th chunk: after it was verified again, or
// found to be wrong. A chunk that is absent does not become present by it.
func (l *Layer) Mark(n int, s State) error {
	if err := l.marks.mark(n, s); err != nil {
		return fmt.Errorf("store: mark chunk %d of layer %d: %w", n, l.Number(), err)
	}
	return nil
}

// State returns the state of the n-th chunk. It takes no lock.
func (l *Layer) State(n int) State { return l.marks.get(n) }

// Full reports whether all chunks are present. Like State it takes no lock.
func (l *Layer) Full() bool { return l.marks.missing.Load() == 0 }
