package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// Usage returns what a snapshot itself occupies on disk: a remote one the part of its layer
// that was fetched, a local one its upper directory, a view nothing. A merge also occupies
// the directories that were made for its stack, and directories of removed snapshots that
// only stacks have; if several merges have one, it counts for the oldest merge.
func (s *Snapshotter) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	var id number
	var info snapshots.Info
	var extra []string
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		stored, found, _, err := storage.GetInfo(ctx, key)
		if err != nil {
			return err
		}
		id, info = numberOf(stored), found
		extra, err = s.takenBy(ctx, id, info)
		return err
	})
	if err != nil {
		return snapshots.Usage{}, err
	}
	usage, err := s.ownUsage(ctx, id, info)
	if err != nil {
		return snapshots.Usage{}, err
	}
	for _, dir := range extra {
		bytes, inodes, err := hardlink.Usage(ctx, dir)
		if err != nil {
			return snapshots.Usage{}, fmt.Errorf("usage of snapshot %s: %w", s.ownerOf(id), err)
		}
		usage.Size, usage.Inodes = usage.Size+bytes, usage.Inodes+inodes
	}
	return usage, nil
}

// takenBy returns the directories of a merge's stack that count for it. It needs a
// transaction.
func (s *Snapshotter) takenBy(ctx context.Context, id number, info snapshots.Info) ([]string, error) {
	st, err := stackOf(info)
	if err != nil || st == nil {
		return nil, err
	}
	used, err := readUses(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := storage.IDMap(ctx)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, l := range st.LowersOf(uint64(id)) {
		_, there := keys[number(l.Snapshot).String()]
		switch {
		case l.IsTree(), l.Diff == stack.Empty:
		case l.Diff != "" && used.diffs[l.Diff] == id,
			number(l.Snapshot) == id,
			l.Diff == "" && !there && used.ids[number(l.Snapshot)] == id:
			dirs = append(dirs, s.dirs.Lower(l))
		}
	}
	return dirs, nil
}

// ownUsage is the usage of a snapshot but for the stack of a merge.
func (s *Snapshotter) ownUsage(ctx context.Context, id number, info snapshots.Info) (snapshots.Usage, error) {
	if layer, remote := layerOf(info); remote {
		return s.layerUsage(layer)
	}
	switch info.Kind {
	case snapshots.KindActive:
		return s.walkUpper(ctx, id)
	case snapshots.KindCommitted:
		return s.committedUsage(ctx, id)
	default:
		return snapshots.Usage{}, nil
	}
}

func (s *Snapshotter) layerUsage(id store.ID) (snapshots.Usage, error) {
	bytes, inodes, err := s.opts.Layers.Usage(id)
	if errors.Is(err, store.ErrNotFound) {
		return snapshots.Usage{}, nil
	}
	if err != nil {
		return snapshots.Usage{}, fmt.Errorf("usage of layer %s: %w", id.Blob, err)
	}
	return snapshots.Usage{Size: bytes, Inodes: inodes}, nil
}

// committedUsage is the usage of a committed snapshot, which does not change: it is stored
// after the first walk.
func (s *Snapshotter) committedUsage(ctx context.Context, id number) (snapshots.Usage, error) {
	var usage snapshots.Usage
	if b, err := os.ReadFile(s.usageFile(id)); err == nil && json.Unmarshal(b, &usage) == nil {
		return usage, nil
	}
	usage, err := s.walkUpper(ctx, id)
	if err != nil {
		return snapshots.Usage{}, err
	}
	// It is written in place and without a sync: an incomplete file is no valid JSON,
	// and ignored.
	if b, err := json.Marshal(usage); err == nil {
		if err := os.WriteFile(s.usageFile(id), b, 0o600); err != nil {
			log.G(ctx).WithError(err).Debug("cannot store the usage of a snapshot")
		}
	}
	return usage, nil
}

func (s *Snapshotter) walkUpper(ctx context.Context, id number) (snapshots.Usage, error) {
	usage, err := fs.DiskUsage(ctx, s.upper(id))
	if err != nil {
		return snapshots.Usage{}, fmt.Errorf("usage of snapshot %s: %w", s.ownerOf(id), err)
	}
	return snapshots.Usage(usage), nil
}
