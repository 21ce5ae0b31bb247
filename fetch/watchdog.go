package fetch

import (
	"context"
	"errors"
	"time"
)

// errStalled is why a request is broken off in which nothing happened.
var errStalled = errors.New("stalled")

// watchdog ends the context of one request when nothing happens for limit
// while somebody waits. It starts with somebody waiting. Who reads slowly is
// not a stall: pause says that nobody waits.
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

// feed says that something happened, and that somebody waits for more.
func (w *watchdog) feed() { w.timer.Reset(w.limit) }

// pause says that nobody waits.
func (w *watchdog) pause() { w.timer.Stop() }

// end ends the request.
func (w *watchdog) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain returns errStalled in place of an error that comes of a stall.
func (w *watchdog) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), errStalled) {
		return errStalled
	}
	return err
}
