package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// errStop is the cause of the end of a context after a request for a clean stop, in which
// nothing remains for the next process.
var errStop = errors.New("interrupted")

// untilSignal returns a context that ends with the first SIGTERM, or, with
// errStop as its cause, with the first SIGINT. From then on both signals have
// their default effect.
func untilSignal(ctx context.Context) context.Context {
	ctx, end := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		caught := <-signals
		signal.Stop(signals)
		if caught == syscall.SIGINT {
			end(errStop)
		}
		end(nil)
	}()
	return ctx
}
