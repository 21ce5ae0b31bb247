package flight

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"
)

// Group shares work with results of type T. The zero value is ready for use. It may
// be used concurrently, and is not copied after its first use.
type Group[T any] struct{ calls singleflight.Group }

// Do returns what work returns for key. Calls with a key for which work is under
// way wait for that, each until its own ctx ends: it then returns the cause of the
// end. The context of work has the values of the first call's ctx, and ends after
// timeout.
func (g *Group[T]) Do(ctx context.Context, key string, timeout time.Duration, work func(context.Context) (T, error)) (T, error) {
	done := g.calls.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		return work(ctx)
	})
	var none T
	select {
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case result := <-done:
		if result.Err != nil {
			return none, result.Err
		}
		value, _ := result.Val.(T) // not ok for a nil of an interface type, which none is
		return value, nil
	}
}

// Forget has the next Do for key begin anew, whatever is under way. Calls that wait
// already are not affected.
func (g *Group[T]) Forget(key string) { g.calls.Forget(key) }
