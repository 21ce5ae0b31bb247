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

// clientKeys are the keys by which snapshots are stored, by the names that clients may use
// for them, so that a merge need not look at all snapshots.
//
// INVARIANT: it has every snapshot that is stored. It may have others: a snapshot is added
// in the transaction that stores it, which can still fail, and only sweeps remove
// snapshots, while no transaction writes.
type clientKeys struct {
	mu struct {
		sync.Mutex
		keys map[string]map[string]struct{} // by name; no inner map is empty
	}
}

// add adds a snapshot. It needs the transaction that stores it.
func (k *clientKeys) add(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.addLocked(key)
}

func (k *clientKeys) addLocked(key string) {
	for _, name := range namesOf(key) {
		if k.mu.keys[name] == nil {
			k.mu.keys[name] = map[string]struct{}{}
		}
		k.mu.keys[name][key] = struct{}{}
	}
}

// reset sets k to what is stored. It needs a transaction beside which no other one writes.
func (k *clientKeys) reset(ctx context.Context) error {
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
func (k *clientKeys) of(name string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Keys(k.mu.keys[name]))
}

// namesOf returns the names that clients may use for the snapshot that is stored by key:
// the key, the client's own key in it (cutKey), and the target of a remote snapshot
// (remoteName).
func namesOf(key string) []string {
	_, name, _ := cutKey(key)
	target, _, _ := strings.Cut(key, "@")
	return []string{key, name, target}
}
