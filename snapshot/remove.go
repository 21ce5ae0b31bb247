package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// Remove takes a snapshot away. Its directory stays until Cleanup, since
// containerd removes many snapshots under one lock.
func (s *Snapshotter) Remove(ctx context.Context, key string) (err error) {
	defer tellFull(&err)
	defer s.lock(key)()
	return s.remove(ctx, key)
}

// remove is Remove by a caller who has locked key.
func (s *Snapshotter) remove(ctx context.Context, key string) error {
	var id number
	var info snapshots.Info
	err := s.meta.WithTransaction(ctx, true, func(ctx context.Context) (err error) {
		if _, info, _, err = storage.GetInfo(ctx, key); err != nil {
			return err
		}
		stored, _, err := storage.Remove(ctx, key)
		if err != nil {
			return fmt.Errorf("remove snapshot %q: %w", key, err)
		}
		id = numberOf(stored)
		return nil
	})
	if err != nil {
		return err
	}
	s.passing.replace(key, nil)
	s.sharing.End(uint64(id))
	s.pins.Exclude()() // calls that have found the snapshot claim its layers before
	for _, layer := range claimedBy(ctx, info) {
		s.opts.Claims.Unclaim(layer)
	}
	if info.Kind != snapshots.KindCommitted {
		s.release(ctx, id)
	}
	return nil
}

// claimedBy returns the layers that a snapshot claims.
func claimedBy(ctx context.Context, info snapshots.Info) []store.ID {
	if layer, remote := layerOf(info); remote {
		return []store.ID{layer}
	}
	st, err := stackOf(info)
	if err != nil {
		log.G(ctx).WithError(err).Warn("layers of a merge are not known")
	}
	if st == nil {
		return nil
	}
	return st.Layers()
}

// Cleanup deletes the directories of removed snapshots, and has layers dropped
// that no endpoint claims.
func (s *Snapshotter) Cleanup(ctx context.Context) (err error) {
	defer tellFull(&err)
	err = s.sweep(ctx)
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
//
// One sweep runs after the other: what two of them had found, each would delete under
// the other's hands.
func (s *Snapshotter) sweep(ctx context.Context) error {
	select {
	case s.sweeping <- struct{}{}:
		defer func() { <-s.sweeping }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var stray []string
	done := s.pins.Exclude()
	err := s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		keys, err := storage.IDMap(ctx)
		if err != nil {
			return err
		}
		used, err := readUses(ctx)
		if err != nil {
			return err
		}
		if err := s.known.reset(ctx); err != nil {
			return err
		}
		s.forget(keys)
		stray, err = s.strays(keys, used)
		return err
	})
	done()
	if err != nil {
		return fmt.Errorf("sweep %s: %w", string(s.dirs), err)
	}
	if err := s.meta.Sync(ctx); err != nil {
		// On a full disk what is deleted must not wait for it.
		log.G(ctx).WithError(err).Warn("metadata of snapshots is not saved")
	}
	for _, dir := range stray {
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		err = errors.Join(err, removeStray(dir))
	}
	return err
}

// removeStray deletes a directory. Settling may give a file of it another inode in
// that moment, so that there is a name again in a directory that was emptied: it stops
// as soon as it finds a file gone.
func removeStray(dir string) (err error) {
	for range 10 {
		if err = os.RemoveAll(dir); !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
	}
	return err
}

// strays returns the directories that are to be deleted. It needs a writable transaction,
// and Pins.Exclude.
func (s *Snapshotter) strays(keys map[string]string, used uses) ([]string, error) {
	entries, err := os.ReadDir(string(s.dirs))
	if err != nil {
		return nil, err
	}
	exists := func(id uint64) bool { _, ok := keys[number(id).String()]; return ok }
	stray, err := s.planner.Strays(exists, used.hasDiff)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		id, _ := parseNumber(name) // else 0, of which there is no snapshot
		_, ok := keys[name]
		if ok || used.ids[id] != 0 || s.pins.Has(uint64(id)) || name == stack.TreesName || name == stack.DiffsName {
			continue
		}
		stray = append(stray, filepath.Join(string(s.dirs), name))
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
