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

	"github.com/ladle-dev/ladle/store"
)

// Usage returns what a snapshot itself takes on disk: a remote one what is
// there of its layer, a local one its upper directory, a view nothing.
func (s *Snapshotter) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	var id string
	var info snapshots.Info
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		id, info, _, err = storage.GetInfo(ctx, key)
		return err
	})
	if err != nil {
		return snapshots.Usage{}, err
	}
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

// committedUsage walks an upper directory once: what is committed does not
// change any more.
func (s *Snapshotter) committedUsage(ctx context.Context, id string) (snapshots.Usage, error) {
	var usage snapshots.Usage
	if b, err := os.ReadFile(s.usageFile(id)); err == nil && json.Unmarshal(b, &usage) == nil {
		return usage, nil
	}
	usage, err := s.walkUpper(ctx, id)
	if err != nil {
		return snapshots.Usage{}, err
	}
	// It is written in place and without a sync: what is empty or torn is no
	// valid JSON, and found out again.
	if b, err := json.Marshal(usage); err == nil {
		if err := os.WriteFile(s.usageFile(id), b, 0o600); err != nil {
			log.G(ctx).WithError(err).Debug("usage is not kept")
		}
	}
	return usage, nil
}

func (s *Snapshotter) walkUpper(ctx context.Context, id string) (snapshots.Usage, error) {
	usage, err := fs.DiskUsage(ctx, s.upper(id))
	if err != nil {
		return snapshots.Usage{}, fmt.Errorf("usage of snapshot %s: %w", s.owner(id), err)
	}
	return snapshots.Usage(usage), nil
}
