package snapshot

import (
	"context"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
)

// uses are the directories in the stacks of all merges: of snapshots, by number, which may
// have been removed, and clean diffs, by name. The value is the number of the oldest merge
// with the directory.
type uses struct {
	ids   map[number]number
	diffs map[string]number
}

// readUses needs a transaction.
func readUses(ctx context.Context) (uses, error) {
	used := uses{ids: map[number]number{}, diffs: map[string]number{}}
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
		for _, l := range st.Lowers {
			if l.Snapshot != 0 {
				noteUse(used.ids, number(l.Snapshot), numberOf(id))
			}
			if l.Diff != "" {
				noteUse(used.diffs, l.Diff, numberOf(id))
			}
		}
	}
	return used, nil
}

// hasDiff reports whether a merge has a clean diff in its stack.
func (u uses) hasDiff(name string) bool { return u.diffs[name] != 0 }

// noteUse adds the directory dir in the stack of the merge by.
func noteUse[K comparable](users map[K]number, dir K, by number) {
	if oldest := users[dir]; oldest == 0 || oldest > by {
		users[dir] = by
	}
}
