package keylock

import (
	"context"
	"sync"
)

// Locks is a lock for each key of type K. In the zero value no key is locked. It
// may be used concurrently, and is not copied after its first use.
type Locks[K comparable] struct {
	mu struct {
		sync.Mutex
		locks map[K]*lock // of the keys that calls hold or wait for
	}
}

type lock struct {
	held  chan struct{} // of capacity 1; full while a call holds the key
	users int           // calls that hold the key or wait for it; guarded by Locks.mu
}

// Lock waits until no other call holds key. The caller calls unlock once. It is for
// keys that are held for no longer than the local disk takes; for others there is
// LockContext.
func (l *Locks[K]) Lock(key K) (unlock func()) {
	k := l.enter(key)
	k.held <- struct{}{}
	return func() { l.unlock(key, k) }
}

// LockContext is Lock for as long as ctx lasts: after that it returns the cause of
// the end of ctx, and unlock is nil.
func (l *Locks[K]) LockContext(ctx context.Context, key K) (unlock func(), err error) {
	k := l.enter(key)
	select {
	case k.held <- struct{}{}:
		return func() { l.unlock(key, k) }, nil
	case <-ctx.Done():
		l.leave(key, k)
		return nil, context.Cause(ctx)
	}
}

func (l *Locks[K]) unlock(key K, k *lock) {
	<-k.held
	l.leave(key, k)
}

// enter returns the lock of key with one user more.
func (l *Locks[K]) enter(key K) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.mu.locks[key]
	if k == nil {
		k = &lock{held: make(chan struct{}, 1)}
		if l.mu.locks == nil {
			l.mu.locks = map[K]*lock{}
		}
		l.mu.locks[key] = k
	}
	k.users++
	return k
}

// leave takes a user away; the last one takes the lock of key away.
func (l *Locks[K]) leave(key K, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.mu.locks, key)
	}
}
