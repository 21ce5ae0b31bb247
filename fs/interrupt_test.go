package fs

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"
)

// testExport is an export that nobody mounts.
func testExport(t *testing.T) *export {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	return newExport(ctx, Options{})
}

// TestReaderIsWatchedOnDemand: a read that waits for nothing has no goroutine.
func TestReaderIsWatchedOnDemand(t *testing.T) {
	e := testExport(t)
	before := runtime.NumGoroutine()
	ctx, end := e.reading(closed(), 0) // of a thread of which nothing is known
	defer end()
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines more", n-before)
	}
	if ctx.Err() != nil {
		t.Error("the read ended, and nobody waited for it")
	}
	waiting, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	<-waiting.Done()
	if waiting.Err() != context.Canceled || ctx.Err() != context.Canceled {
		t.Errorf("%v, %v", waiting.Err(), ctx.Err())
	}
}

// TestWatchEnds with the read and with the export.
func TestWatchEnds(t *testing.T) {
	e := testExport(t)
	alive := uint32(os.Getpid())
	for name, cancel := range map[string]chan struct{}{"not interrupted": make(chan struct{}), "interrupted": closed()} {
		ctx, end := e.reading(cancel, alive)
		done := ctx.Done()
		if ctx.Err() != nil {
			t.Errorf("%s: ended by itself", name)
		}
		end()
		<-done
	}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
