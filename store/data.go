package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// empty makes the data file one hole. It is not enough to drop what is cached of
// it: a page that is written to meanwhile stays, and if ext4 could not write it
// once, what it writes of it later is not on disk, and no error (buffers are
// marked as mapped, the extent stays unwritten; Linux 6.18, fs/ext4/inode.c).
//
// A file that others may read is left as it is: they would read zeros.
func (l *Layer) empty() error {
	if l.whole.is.Load() {
		return errWhole
	}
	err := unix.Fallocate(int(l.data.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, roundUp(l.size))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return dropCache(l.data, 0, 0) // no filesystem with such buffers
	}
	return os.NewSyscallError("fallocate", err)
}

// emptied returns nil if nothing is left in the data file of chunks that were lost.
// Otherwise it tries again to make it so.
func (l *Layer) emptied() error {
	m := l.marks
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.unemptied != nil {
		m.mu.unemptied = l.empty()
	}
	return m.mu.unemptied
}

// ErrLost is returned when the kernel could not write to disk what had been
// filled in, and told so only later. All chunks of the layer are then absent.
var ErrLost = errors.New("bytes could not be written to disk")

// Losses counts how often ErrLost made all chunks of the layer absent. See ReadSince.
func (l *Layer) Losses() uint64 { return l.marks.losses.Load() }

// ReadSince reads the data file as it is, holes as zeros. It returns ErrLost if
// chunks were lost since Losses returned losses. The bytes of a chunk are good if it
// was found Present after that and before ReadSince is called. That it is Present
// afterwards says nothing: it may have been filled again in between. What a
// sequential reader has passed leaves the page cache, since the reader's own has it.
func (l *Layer) ReadSince(losses uint64, p []byte, off int64) (int, error) {
	n, err := l.data.ReadAt(p, off)
	if lost := l.checkWrites(losses); lost != nil {
		return 0, fmt.Errorf("store: read layer %d: %w", l.Number(), lost)
	}
	l.dropBehind(off, off+int64(n))
	return n, err
}

// ReadAt is ReadSince for a caller that verifies what it reads.
func (l *Layer) ReadAt(p []byte, off int64) (int, error) {
	return l.ReadSince(l.Losses(), p, off)
}

// checkWrites returns ErrLost if the kernel has dropped pages of the data file
// that it could not write since losses was read as since.
//
// The kernel reports a failed write to each open file once (Linux errseq_t,
// since 4.13), and before the page can be evicted. It is asked without
// waiting for any page, by a range that has none: behind the end.
func (l *Layer) checkWrites(since uint64) error {
	return l.syncRange(since, roundUp(l.size), blockSize, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
}

// settle waits until the kernel has written what was filled in. It is called before
// the file is closed: if a write fails while the file is not open, the kernel forgets the
// error together with the inode, and a later reader of the file gets zeros. If chunks were
// lost they are absent then; it returns an error only if that could not be written to the
// file of the marks.
func (l *Layer) settle() error {
	off, n, flags := roundUp(l.size), int64(blockSize), unix.SYNC_FILE_RANGE_WAIT_BEFORE
	if l.whole.filled.Load() {
		off, n, flags = 0, 0, writeAll
	}
	lost := l.syncRange(l.Losses(), off, n, flags)
	if lost == nil {
		return nil
	}
	l.marks.mu.Lock()
	defer l.marks.mu.Unlock()
	if err := l.marks.loseLocked(); err != nil {
		return fmt.Errorf("store: close layer %d: %w: %w", l.Number(), lost, err)
	}
	return nil
}

// syncRange is checkWrites by sync_file_range(2) with n bytes at off, or all from
// there on if n is zero, and flags.
func (l *Layer) syncRange(since uint64, off, n int64, flags int) error {
	m := l.marks
	m.mu.Lock()
	defer m.mu.Unlock()
	err := unix.SyncFileRange(int(l.data.Fd()), off, n, flags)
	if err != nil {
		m.mu.unemptied = l.empty()
		// Whoever fills meanwhile read losses before it is counted up.
		err = errors.Join(os.NewSyscallError("sync_file_range", err), m.mu.unemptied, m.loseLocked())
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	if m.losses.Load() != since {
		return ErrLost
	}
	return nil
}
