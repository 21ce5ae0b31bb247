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
// clients may call them, so that a merge does not wait for a look at all of
// them.
//
// INVARIANT: it has every snapshot that is stored. It may have others: they are
// added within the write transaction that stores them, which can still fail, and
// are taken away by sweeps alone, each within a write transaction of its own.
type known struct {
	mu struct {
		sync.Mutex
		keys map[string]map[string]struct{} // by name; no inner map is empty
	}
}

// add adds a snapshot. It needs the write transaction that stores it.
func (k *known) add(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.addLocked(key)
}

func (k *known) addLocked(key string) {
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
	k.mu.keys = map[string]map[string]struct{}{}
	for _, key := range stored {
		k.addLocked(key)
	}
	return nil
}

// of returns the keys of snapshots that may have a name.
func (k *known) of(name string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Keys(k.mu.keys[name]))
}

// namesOf returns the names by which clients may know the snapshot that is
// stored by key: the key, the client's part of it, and the target of a remote
// snapshot (remoteName).
func namesOf(key string) []string {
	_, name, _ := cutKey(key)
	target, _, _ := strings.Cut(key, "@")
	return []string{key, name, target}
}
