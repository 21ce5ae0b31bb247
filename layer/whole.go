package layer

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/log"
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

// dropCached drops, every FillRetry, what the kernel has cached of the data files that it
// reads without this process: who has read these bytes has them in the page cache of a tree.
// What an import left there is kept for as long, for the first container.
func (s *Set) dropCached() {
	for _, l := range s.cachedTwice() {
		err := errors.Join(l.data.DropCache(0, 0), l.Close())
		if err != nil && s.ctx.Err() == nil {
			log.G(s.ctx).WithError(err).WithField("layer", l.ID().Blob).Warn("dropping the page cache of a layer failed")
		}
	}
}

// cachedTwice returns the open layers that are to be dropped from the page cache now, with a
// reference each for the caller to close.
func (s *Set) cachedTwice() (layers []*Layer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, l := range s.mu.layers {
		if !l.data.IsWhole() {
			continue
		}
		first := l.filling.drop.IsZero()
		if !first && now.Before(l.filling.drop) {
			continue
		}
		l.filling.drop = now.Add(s.opts.FillRetry)
		if !first {
			l.refs++
			layers = append(layers, l)
		}
	}
	return layers
}
