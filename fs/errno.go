package fs

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/containerd/log"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// errnoOf returns the status of a failed read: EINTR if ctx was cancelled because the
// reader is being killed, so that no program sees it; else EIO: the read timed out,
// failed, or the export was closed.
func (e *export) errnoOf(ctx context.Context) fuse.Status {
	if errors.Is(ctx.Err(), context.Canceled) && e.lifetime.Err() == nil {
		return fuse.EINTR
	}
	return fuse.EIO
}

// failed returns the status of a failed READ of layer or tree number, and logs err, since
// the reader gets only the status. It does not log a READ with an expired ctx: it repeats
// a READ that was logged.
func (e *export) failed(ctx context.Context, in *fuse.ReadIn, number uint32, err error) fuse.Status {
	status := e.errnoOf(ctx)
	if status != fuse.EIO || e.lifetime.Err() != nil || ctx.Err() != nil {
		return status
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.late.add(in, time.Now())
	}
	if e.failures.report() {
		log.G(e.lifetime).WithError(err).WithField("number", number).Error("FUSE READ failed")
	}
	return status
}

// failures limits the log messages about failed READs.
type failures struct{ last atomic.Int64 } // seconds since 1970

// report returns true once a second.
func (f *failures) report() bool {
	now := time.Now().Unix()
	last := f.last.Load()
	return now != last && f.last.CompareAndSwap(last, now)
}
