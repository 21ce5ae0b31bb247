package snapshot

import (
	"context"
	"strconv"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/metastore"
)

// number identifies a snapshot of an endpoint. containerd's core/snapshots/storage gives
// them out from 1 on, each once, and has them as strings in decimal. 0 stands for none.
type number uint64

// String returns the number as the storage has it, which is the name of the snapshot's
// directory, too.
func (n number) String() string { return strconv.FormatUint(uint64(n), 10) }

// numberOf returns the number of a snapshot from its id in the storage.
func numberOf(id string) number {
	n, err := parseNumber(id)
	if err != nil { // which no version of the storage gives
		return hardlink.Unknown
	}
	return n
}

func parseNumber(s string) (number, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	return number(n), err
}

// listIDs returns all snapshots, and their numbers by key.
func listIDs(ctx context.Context, meta *metastore.Store) ([]snapshots.Info, map[string]number, error) {
	var infos []snapshots.Info
	ids := map[string]number{}
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
