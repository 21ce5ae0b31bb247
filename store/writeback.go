package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeStep is how many bytes of a data file the kernel is asked to write at once. fsync(2)
// of another file can wait for all that is being written (ext4, data=ordered): for two
// imports at the same time that is 16 MiB, which a slow disk writes in a tenth of a second.
const writeStep = 8 << 20

// writeAll are the flags of sync_file_range(2) for writing a range and waiting for that.
const writeAll = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER

// writeRange has the kernel write the bytes [from,to) of f to disk, and waits for it. It
// returns early if stop is closed.
func writeRange(f *os.File, from, to int64, stop <-chan struct{}) (end int64, err error) {
	for from < to {
		select {
		case <-stop:
			return from, nil
		default:
		}
		n := min(writeStep, to-from)
		if err := unix.SyncFileRange(int(f.Fd()), from, n, writeAll); err != nil {
			return from, os.NewSyscallError("sync_file_range", err)
		}
		from += n
	}
	return from, nil
}

// writeback has the kernel write a file to disk while it is being written from its start to
// its end, so that little is left to write then. It does not make the writer wait.
type writeback struct {
	ends chan int64 // up to where the file is written; received when there is time
	stop chan struct{}
	done chan error
	sent int64
}

func newWriteback(f *os.File) *writeback {
	w := &writeback{ends: make(chan int64), stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { w.done <- w.run(f) }()
	return w
}

func (w *writeback) run(f *os.File) error {
	var from int64
	for {
		select {
		case <-w.stop:
			return nil
		case end := <-w.ends:
			var err error
			if from, err = writeRange(f, from, end, w.stop); err != nil {
				<-w.stop
				return err
			}
		}
	}
}

// wrote says that the file is written up to end.
func (w *writeback) wrote(end int64) {
	if end < w.sent+writeStep {
		return
	}
	select {
	case w.ends <- end:
		w.sent = end
	default:
	}
}

// end ends the writing, and returns its error: bytes were lost.
func (w *writeback) end() error {
	close(w.stop)
	return <-w.done
}
