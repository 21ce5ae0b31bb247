package fetch

import (
	"context"
	"errors"
	"time"
)

// errStalled is the cause of a request's end that made no progress.
var errStalled = errors.New("stalled")

// watchdog ends the context of a request that makes no progress for limit, while a caller
// waits for it. At the start a caller waits. After pause none does, so that a slow reader
// is not a stall.
type watchdog struct {
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func watch(ctx context.Context, limit time.Duration) *watchdog {
	ctx, cancel := context.WithCancelCause(ctx)
	return &watchdog{ctx, cancel, time.AfterFunc(limit, func() { cancel(errStalled) }), limit}
}

// feed records progress, and that a caller waits for more.
func (w *watchdog) feed() { w.timer.Reset(w.limit) }

// pause records that no caller waits.
func (w *watchdog) pause() { w.timer.Stop() }

// end ends the request.
func (w *watchdog) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain replaces an error that was caused by a stall by errStalled.
func (w *watchdog) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), errStalled) {
		return errStalled
	}
	return err
}
