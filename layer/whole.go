package layer

import (
	"context"
	"time"
)

// diskWait bounds how long DataFile waits for the kernel to write the data file to disk. For
// a file that was written before it does not wait. After an import it can take as long as the
// disk does, and the container that is about to start is not to wait for that.
const diskWait = 100 * time.Millisecond

// DataFile returns the path of the layer's data file if all of its bytes are verified and on
// disk, and the layer is proved: it can then be read without this process, for as long as it
// is open somewhere. ok is false if a chunk is absent or doubtful; if the layer is not proved,
// since it could not be taken out of service any more; or if the kernel has not written the
// file when diskWait or ctx ends. It goes on writing then, and a later call finds it written.
func (l *Layer) DataFile(ctx context.Context) (path string, ok bool) {
	if p := l.set.Proof(l.ID()); !l.Full() || p.DiffID == "" || p.Wrong != "" {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, diskWait)
	defer cancel()
	found := make(chan string, 1)
	l.set.background(l, "writing a full layer to disk failed", func() error {
		defer close(found)
		path, ok, err := l.data.Whole()
		if ok {
			found <- path
		}
		return err
	})
	select {
	case path, ok = <-found:
		return path, ok
	case <-ctx.Done():
		return "", false
	}
}
