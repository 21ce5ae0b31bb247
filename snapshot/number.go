package snapshot

import (
	"context"
	"strconv"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/metastore"
)

// numberOf returns the number of a snapshot from what containerd's
// core/snapshots/storage has it as: in decimal, from 1 on. What is no number stands
// for any snapshot.
func numberOf(id string) uint64 {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return hardlink.Unknown
	}
	return n
}

func itoa(id uint64) string { return strconv.FormatUint(id, 10) }

// listIDs returns all snapshots, and their numbers by key.
func listIDs(ctx context.Context, meta *metastore.Store) ([]snapshots.Info, map[string]uint64, error) {
	var infos []snapshots.Info
	ids := map[string]uint64{}
	err := meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		keys, err := storage.IDMap(ctx)
		if err != nil {
			return err
		}
		for id, key := range keys {
			ids[key] = numberOf(id)
		}
		return storage.WalkInfo(ctx, func(_ context.Context, info snapshots.Info) error {
			infos = append(infos, info)
			return nil
		})
	})
	return infos, ids, err
}
