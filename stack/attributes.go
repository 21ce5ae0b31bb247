package stack

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/store"
)

// accumulate makes the lower that a stack of diffs needs on top for the attributes of its
// directories (merge.Accumulate). Most stacks need none: then it returns none.
func (c *Call) accumulate(ctx context.Context, diffs []cleanDiff) ([]Lower, error) {
	shown, err := c.attributed(ctx, diffs)
	if err != nil || !slices.ContainsFunc(shown, func(d merge.Shown) bool { return len(d.Attributed) > 0 }) {
		return nil, err
	}
	dirs, err := c.dirs(ctx, lowersIn(diffs))
	if err != nil {
		return nil, err
	}
	for i, dir := range dirs {
		shown[i].Dir = dir
	}
	diff, err := merge.Accumulate(ctx, shown, c.mergeOptions())
	if err != nil || diff.Empty() {
		return nil, err
	}
	top, err := c.makePart(ctx, skeletonPrefix, diff, nil, nil) // it has no links
	return []Lower{top}, err
}

// attributed finds the directories with extended attributes in all diffs but the last, the
// topmost: overlayfs shows all attributes of the topmost directory. A tree that is made from
// indexes is mounted for it.
func (c *Call) attributed(ctx context.Context, diffs []cleanDiff) ([]merge.Shown, error) {
	shown := make([]merge.Shown, len(diffs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDiffs)
	for i, d := range diffs[:max(len(diffs)-1, 0)] {
		if !d.lower.IsTree() || d.lower.Tree.Kind == store.AsIs {
			shown[i].Attributed = d.attributed
			continue
		}
		group.Go(func() error {
			dirs, err := c.dirs(ctx, []Lower{d.lower})
			if err == nil {
				shown[i].Attributed, err = merge.Attributed(ctx, dirs[0], c.mergeOptions())
			}
			return err
		})
	}
	return shown, group.Wait()
}
