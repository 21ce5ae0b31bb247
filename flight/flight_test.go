package flight

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Calls that want the same at the same time share one piece of work, its result and
// its error; a call that comes later begins anew.
func TestDoShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		var works atomic.Int64
		bad := errors.New("the first has bad luck")
		work := func(context.Context) (int, error) {
			time.Sleep(time.Second)
			if n := works.Add(1); n > 1 {
				return int(n), nil
			}
			return 7, bad
		}
		for round := range 2 {
			for range 10 {
				go func() {
					n, err := g.Do(t.Context(), "key", time.Minute, work)
					if round == 0 && (!errors.Is(err, bad) || n != 0) || round == 1 && (err != nil || n != 2) {
						t.Errorf("round %d: %d, %v", round, n, err)
					}
				}()
			}
			synctest.Wait()
			time.Sleep(2 * time.Second)
			if n := works.Load(); n != int64(round+1) {
				t.Fatalf("worked %d times in %d rounds", n, round+1)
			}
		}
	})
}

// The call that began may go: the work goes on for the others, with its values.
func TestWorkOutlivesItsFirstCall(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		var g Group[string]
		goOn := make(chan struct{})
		work := func(ctx context.Context) (string, error) {
			<-goOn
			return ctx.Value(key{}).(string), ctx.Err()
		}
		why := errors.New("why")
		first, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
		ended := make(chan error, 1)
		go func() {
			_, err := g.Do(first, "key", time.Minute, work)
			ended <- err
		}()
		synctest.Wait()
		second := make(chan string, 1)
		go func() {
			s, err := g.Do(t.Context(), "key", time.Minute, work)
			if err != nil {
				t.Error(err)
			}
			second <- s
		}()
		synctest.Wait()
		cancel(why)
		if err := <-ended; !errors.Is(err, why) {
			t.Errorf("%v, want the cause", err)
		}
		close(goOn)
		if s := <-second; s != "value" {
			t.Errorf("got %q", s)
		}
	})
}

// Work ends after its timeout, whatever the calls' contexts are.
func TestWorkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[[]byte]
		began := time.Now()
		_, err := g.Do(t.Context(), "key", time.Minute, func(ctx context.Context) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// What is forgotten is not waited for by calls that come later.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[error]
		stuck := make(chan struct{})
		go func() {
			_, _ = g.Do(t.Context(), "key", time.Minute, func(context.Context) (error, error) {
				<-stuck
				return nil, nil
			})
		}()
		synctest.Wait()
		g.Forget("key")
		value, err := g.Do(t.Context(), "key", time.Minute, func(context.Context) (error, error) { return nil, nil })
		if value != nil || err != nil {
			t.Errorf("%v, %v", value, err)
		}
		close(stuck)
	})
}
