package snapshot

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
)

// known is where the snapshots there are can be looked up by the names that
// clients may call them and by their numbers, so that who asks for a merge does
// not wait for a look at all of them.
//
// INVARIANT: it has every snapshot that is stored. It may have others: they are
// added within the write transaction that stores them, which can still fail, and
// are taken away by sweeps alone, each within a write transaction of its own. A
// commit that failed leaves a number with a key that is not stored: the snapshot
// is not found by its number, until it is committed or swept.
type known struct {
	mu struct {
		sync.Mutex
		keys map[string]map[string]struct{} // by name; no inner map is empty
		key  map[string]string              // by number
	}
}

// add adds a snapshot, which may have had another key. It needs the write
// transaction that stores it.
func (k *known) add(id, key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.addLocked(id, key)
}

func (k *known) addLocked(id, key string) {
	k.mu.key[id] = key
	for _, name := range namesOf(key) {
		if k.mu.keys[name] == nil {
			k.mu.keys[name] = map[string]struct{}{}
		}
		k.mu.keys[name][key] = struct{}{}
	}
}

// reset makes it what is stored. It needs a write transaction.
func (k *known) reset(ctx context.Context) error {
	stored, err := storage.IDMap(ctx)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.keys, k.mu.key = map[string]map[string]struct{}{}, map[string]string{}
	for id, key := range stored {
		k.addLocked(id, key)
	}
	return nil
}

// of returns the keys of snapshots that may have a name.
func (k *known) of(name string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Keys(k.mu.keys[name]))
}

// has reports whether there is, or was before the last sweep, a snapshot with a
// number.
func (k *known) has(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.mu.key[id]
	return ok
}

// keyOf returns the key of the snapshot with a number, or nothing if there is
// none. It needs a transaction.
func (k *known) keyOf(ctx context.Context, id string) (string, error) {
	k.mu.Lock()
	key := k.mu.key[id]
	k.mu.Unlock()
	has, _, _, err := storage.GetInfo(ctx, key)
	if errdefs.IsNotFound(err) || err == nil && has != id {
		return "", nil
	}
	return key, err
}

// namesOf returns the names by which clients may know the snapshot that is
// stored by key: the key, the client's part of it, and the target of a remote
// snapshot (remoteName).
func namesOf(key string) []string {
	_, name, _ := cutKey(key)
	target, _, _ := strings.Cut(key, "@")
	return []string{key, name, target}
}
