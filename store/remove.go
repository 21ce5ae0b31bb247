package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Remove removes each layer for which keep returns false, unless it is open, and the tree
// images that are made from it. The caller's keep returns true for all layers of a Spec,
// Spec.All, as long as the tree may be mounted. Remove returns the bytes freed, also with an
// error, and stops when ctx ends. keep may use the store. When an open layer that Remove
// left is closed, Unused receives.
func (s *Store) Remove(ctx context.Context, keep func(ID) bool) (int64, error) {
	var freed int64
	for _, id := range s.Layers() {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		if keep(id) {
			continue
		}
		n, err := s.removeLayer(id)
		freed += n
		if err != nil {
			return freed, fmt.Errorf("store: remove %s: %w", id.Blob, err)
		}
	}
	return freed, nil
}

// Unused receives after a layer was closed that Remove left because it was open: the kernel
// closes a layer's data file some time after the last tree of it was unmounted. It has one
// receiver, which calls Remove again.
func (s *Store) Unused() <-chan struct{} { return s.unused }

func (s *Store) hasUnused() {
	select {
	case s.unused <- struct{}{}:
	default:
	}
}

func (s *Store) removeLayer(id ID) (freed int64, err error) {
	defer s.locks.layers.Lock(id)()
	for _, dir := range s.forget(id) {
		n, _, counting := usage(dir)
		removal := s.removeDir(dir)
		if removal == nil {
			freed += n
		}
		err = errors.Join(err, counting, removal)
	}
	return freed, err
}

// forget takes a layer that is not open, and the tree images made from it, out of the
// store. It returns their directories, the tree images' first.
func (s *Store) forget(id ID) (dirs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.mu.layers[id]
	if sl == nil {
		return nil
	}
	if sl.open != nil {
		sl.left = true
		return nil
	}
	delete(s.mu.layers, id)
	for key, t := range s.mu.trees {
		if slices.Contains(t.layers, id) {
			delete(s.mu.trees, key)
			dirs = append(dirs, s.treeDir(t.number))
		}
	}
	return append(dirs, s.layerDir(sl.number))
}
