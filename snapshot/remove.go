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

// Remove removes a snapshot. Its directory remains until Cleanup, since containerd removes
// many snapshots under one lock.
func (s *Snapshotter) Remove(ctx context.Context, key string) (err error) {
	defer classifyFull(&err)
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	return s.remove(ctx, key)
}

// remove is Remove of a key that is locked.
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
	s.transient.replace(key, nil)
	s.sharing.End(uint64(id))
	s.pins.Exclude()() // by then, calls that have found the snapshot claim its layers, too
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
		log.G(ctx).WithError(err).Warn("the layers of a merge cannot be read: they are not claimed")
	}
	if st == nil {
		return nil
	}
	return st.Layers()
}

// Cleanup deletes the directories of removed snapshots, and has layers dropped
// that no endpoint claims.
func (s *Snapshotter) Cleanup(ctx context.Context) (err error) {
	defer classifyFull(&err)
	err = s.sweep(ctx)
	if s.opts.Drop == nil {
		return err
	}
	if dropErr := s.opts.Claims.Collect(ctx, s.opts.Drop); dropErr != nil {
		err = errors.Join(err, fmt.Errorf("drop layers that are not in use: %w", dropErr))
	}
	return err
}

// sweep deletes the directories that belong to no snapshot: of removed snapshots, and of
// interrupted processes. It lists them while no other transaction can write, so that no
// Prepare makes a directory meanwhile, and writes nothing. Since no number is given to two
// snapshots, none that is listed is made anew.
//
// There is one sweep at a time: two would delete the same directories.
func (s *Snapshotter) sweep(ctx context.Context) error {
	select {
	case s.sweeping <- struct{}{}:
		defer func() { <-s.sweeping }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var stray []string
	done := s.pins.Exclude()
	err := s.meta.Exclusively(ctx, func(ctx context.Context) error {
		keys, err := storage.IDMap(ctx)
		if err != nil {
			return err
		}
		used, err := readUses(ctx)
		if err != nil {
			return err
		}
		if err := s.clientKeys.reset(ctx); err != nil {
			return err
		}
		s.dropTransient(keys)
		stray, err = s.strays(keys, used)
		return err
	})
	done()
	if err != nil {
		return fmt.Errorf("sweep %s: %w", string(s.dirs), err)
	}
	if err := s.meta.Sync(ctx); err != nil {
		// On a full disk, directories must be deleted nevertheless.
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

// removeStray deletes a directory. The worker of package settle may replace files in it at
// the same time, so that a directory that was emptied has an entry again; the worker stops
// at the first file that is gone.
func removeStray(dir string) (err error) {
	for range 10 {
		if err = os.RemoveAll(dir); !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
	}
	return err
}

// strays returns the directories that are to be deleted. It is called in
// Store.Exclusively, after Pins.Exclude.
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

// dropTransient removes the transient labels of snapshots that do not exist: those of an
// Update that ran at the same time as Remove.
func (s *Snapshotter) dropTransient(keys map[string]string) {
	exists := map[string]bool{}
	for _, key := range keys {
		exists[key] = true
	}
	s.transient.drop(func(name string) bool { return exists[name] })
}
