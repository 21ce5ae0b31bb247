package fs

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/containerd/log"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// errnoOf says what a reader gets for a failed read: EINTR if ctx, the
// reader's own, has ended, which no program sees since it is being killed, and
// EIO for everything else, the end of the export among it.
func (e *export) errnoOf(ctx context.Context) fuse.Status {
	if ctx.Err() != nil && e.lifetime.Err() == nil {
		return fuse.EINTR
	}
	return fuse.EIO
}

// failed logs why a read failed, since a reader gets no more than an errno,
// and returns that.
func (e *export) failed(ctx context.Context, number uint32, err error) fuse.Status {
	status := e.errnoOf(ctx)
	if status == fuse.EIO && e.lifetime.Err() == nil && e.failures.report() {
		log.G(e.lifetime).WithError(err).WithField("number", number).Error("read failed")
	}
	return status
}

// failures keeps a layer that cannot be read from filling the log.
type failures struct{ last atomic.Int64 } // seconds since 1970

// report is true once a second.
func (f *failures) report() bool {
	now := time.Now().Unix()
	last := f.last.Load()
	return now != last && f.last.CompareAndSwap(last, now)
}
