package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// Remove takes a snapshot away. Its directory stays until Cleanup, since
// containerd removes many snapshots under one lock.
func (s *Snapshotter) Remove(ctx context.Context, key string) error {
	defer s.lock(key)()
	return s.remove(ctx, key)
}

// remove is Remove by a caller who has locked key.
func (s *Snapshotter) remove(ctx context.Context, key string) error {
	var id string
	var info snapshots.Info
	err := s.meta.WithTransaction(ctx, true, func(ctx context.Context) (err error) {
		if _, info, _, err = storage.GetInfo(ctx, key); err != nil {
			return err
		}
		if id, _, err = storage.Remove(ctx, key); err != nil {
			return fmt.Errorf("remove snapshot %q: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.passing.replace(key, nil)
	if layer, remote := layerOf(info); remote {
		s.opts.Claims.drop(layer)
	}
	if info.Kind != snapshots.KindCommitted {
		s.release(ctx, id)
	}
	return nil
}

// Cleanup deletes the directories of removed snapshots, and has layers dropped
// that no endpoint claims.
func (s *Snapshotter) Cleanup(ctx context.Context) error {
	err := s.sweep(ctx)
	if s.opts.Drop == nil {
		return err
	}
	if dropErr := s.opts.Claims.Collect(ctx, s.opts.Drop); dropErr != nil {
		err = errors.Join(err, fmt.Errorf("drop layers that are not in use: %w", dropErr))
	}
	return err
}

// sweep deletes the directories that belong to no snapshot: of removed ones,
// and those that an interrupted process left. They are listed within a write
// transaction, while no Prepare has a directory half made; no number is used
// twice.
func (s *Snapshotter) sweep(ctx context.Context) error {
	var stray []string
	err := s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		keys, err := storage.IDMap(ctx)
		if err != nil {
			return err
		}
		stray, err = s.strays(keys)
		s.forget(keys)
		return err
	})
	if err != nil {
		return fmt.Errorf("sweep %s: %w", s.dir, err)
	}
	for _, dir := range stray {
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

func (s *Snapshotter) strays(keys map[string]string) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var stray []string
	for _, e := range entries {
		if _, ok := keys[e.Name()]; !ok && e.Name() != treesLink {
			stray = append(stray, filepath.Join(s.dir, e.Name()))
		}
	}
	return stray, nil
}

// forget drops passing labels that an Update left behind when it ran beside
// the removal of its snapshot.
func (s *Snapshotter) forget(keys map[string]string) {
	there := map[string]bool{}
	for _, key := range keys {
		there[key] = true
	}
	s.passing.keep(func(name string) bool { return there[name] })
}
