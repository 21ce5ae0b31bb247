package store

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// whole is whether the data file of a layer is one that others may read.
type whole struct {
	is     atomic.Bool
	filled atomic.Bool // Fill was called
	// mu is read-locked while a chunk is written, and locked while is becomes true, which
	// it can be for a moment without being so in the end.
	mu sync.RWMutex
}

// known reports whether the data file is known to be whole.
func (w *whole) known() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.is.Load()
}

// errWhole is returned for a change of a data file that others may read.
var errWhole = errors.New("the data file is read by others")

// Whole returns the path of the data file if all chunks are present, and waits until the
// kernel has written them to disk. From then on this process does not change the file: others
// can read it, also after this process has ended, and none of its bytes is lost with a page
// that could not be written. ok is false if a chunk is absent or doubtful, or the store does
// not have the layer any more.
func (l *Layer) Whole() (path string, ok bool, err error) {
	if !l.Full() || !l.IsStored() {
		return "", false, nil
	}
	if l.whole.known() {
		return l.path(dataFile), true, nil
	}
	if err := l.writeBack(); err != nil {
		return "", false, fmt.Errorf("store: data file of layer %d: %w", l.Number(), err)
	}
	l.whole.mu.Lock()
	defer l.whole.mu.Unlock()
	losses := l.Losses()
	if !l.Full() {
		return "", false, nil
	}
	// From here on a loss does not empty the file: is is true before the kernel is asked
	// for the last time whether there was one.
	l.whole.is.Store(true)
	if err := l.waitWritten(losses); err != nil {
		l.whole.is.Store(false)
		return "", false, fmt.Errorf("store: data file of layer %d: %w", l.Number(), err)
	}
	return l.path(dataFile), true, nil
}

// IsWhole reports whether Whole has found the layer whole, or is about to.
func (l *Layer) IsWhole() bool { return l.whole.is.Load() }

// writeBack waits until the kernel has written the data file. Readers of the layer do not
// wait for it, and an error of the kernel is reported to them, not to this descriptor.
func (l *Layer) writeBack() error {
	file, err := os.Open(l.path(dataFile))
	if err != nil {
		return err
	}
	defer file.Close()
	_, _ = writeRange(file, 0, l.size, nil) // waitWritten returns the error, too
	return nil
}

// waitWritten waits until the kernel has written the data file, and returns ErrLost if
// chunks were lost since losses was read.
func (l *Layer) waitWritten(losses uint64) error { return l.syncRange(losses, 0, 0, writeAll) }
