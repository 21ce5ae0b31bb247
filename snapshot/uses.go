package snapshot

import (
	"context"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// uses is what the merges there are have in their stacks: directories of
// snapshots, by number, which may be removed, and clean diffs. The value is the
// number of the oldest merge that has it.
type uses struct {
	ids, diffs map[string]string
}

// readUses needs a transaction.
func readUses(ctx context.Context) (uses, error) {
	used := uses{ids: map[string]string{}, diffs: map[string]string{}}
	note := func(users map[string]string, used, by string) {
		if old := users[used]; used != "" && (old == "" || newer(old, by)) {
			users[used] = by
		}
	}
	var merges []string
	err := storage.WalkInfo(ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Labels[stackLabel] != "" {
			merges = append(merges, info.Name)
		}
		return nil
	})
	if err != nil {
		return uses{}, err
	}
	for _, key := range merges {
		id, info, _, err := storage.GetInfo(ctx, key)
		if err != nil {
			return uses{}, err
		}
		st, err := stackOf(info)
		if err != nil {
			return uses{}, err
		}
		for _, l := range st.lowers {
			note(used.ids, l.id, id)
			note(used.diffs, l.diff, id)
		}
	}
	return used, nil
}
