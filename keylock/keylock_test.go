package keylock

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// known returns how many keys take memory.
func (l *Locks[K]) known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.locks)
}

// Calls about one key exclude each other, with and without a context: the counters
// have no other guard, and the race detector looks on, too.
func TestLockExcludes(t *testing.T) {
	var locks Locks[int]
	const keys, calls, rounds = 3, 8, 200
	var counters [keys]int
	var wg sync.WaitGroup
	for call := range calls {
		wg.Go(func() {
			for i := range rounds {
				key := (call + i) % keys
				var unlock func()
				if call%2 == 0 {
					unlock = locks.Lock(key)
				} else {
					var err error
					if unlock, err = locks.LockContext(t.Context(), key); err != nil {
						t.Error(err)
						return
					}
				}
				counters[key]++
				unlock()
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range counters {
		sum += n
	}
	if sum != calls*rounds {
		t.Errorf("counted %d, want %d", sum, calls*rounds)
	}
	if n := locks.known(); n != 0 {
		t.Errorf("%d keys are known after the last unlock", n)
	}
}

// Another key is not waited for.
func TestKeysAreApart(t *testing.T) {
	var locks Locks[string]
	defer locks.Lock("a")()
	locks.Lock("b")()
	if n := locks.known(); n != 1 {
		t.Errorf("%d keys are known, one is held", n)
	}
}

// A wait ends with its context, with the cause of that, and leaves the key to the
// call that holds it and to those that wait on.
func TestLockContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks Locks[string]
		unlock := locks.Lock("key")
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := locks.LockContext(ctx, "key")
			ended <- err
		}()
		got := make(chan func(), 1)
		go func() { got <- locks.Lock("key") }()
		synctest.Wait()
		cancel(why)
		if err := <-ended; !errors.Is(err, why) {
			t.Errorf("%v, want the cause", err)
		}
		synctest.Wait()
		select {
		case <-got:
			t.Error("the key is held twice")
		default:
		}
		unlock()
		(<-got)()
		if n := locks.known(); n != 0 {
			t.Errorf("%d keys are known after the last unlock", n)
		}
	})
}
