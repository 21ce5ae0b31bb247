package snapshot

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// skeletonKind begins the names of what accumulate makes. There are directories
// in it and nothing else.
const skeletonKind = "t"

// accumulate makes the lower that a stack of diffs needs on top for the
// attributes of its directories, and returns none if it needs none.
func (s *Snapshotter) accumulate(ctx context.Context, m planning, diffs []cleanDiff) ([]stack.Lower, error) {
	shown, err := s.attributedIn(ctx, m.owner, diffs)
	if err != nil || !slices.ContainsFunc(shown, func(d merge.Shown) bool { return len(d.Attributed) > 0 }) {
		return nil, err
	}
	for i, d := range diffs {
		dirs, err := s.lowerDirs(ctx, m.owner, []stack.Lower{d.lower})
		if err != nil {
			return nil, err
		}
		shown[i].Dir = dirs[0]
	}
	diff, err := merge.Accumulate(ctx, shown, s.mergeOptions())
	if err != nil || diff.Empty() {
		return nil, err
	}
	part, err := s.makePart(ctx, skeletonKind, diff, nil, m.pin)
	return []stack.Lower{{Part: part}}, err
}

// attributedIn finds the directories with extended attributes of all diffs but
// the topmost, of which all is seen.
func (s *Snapshotter) attributedIn(ctx context.Context, owner string, diffs []cleanDiff) ([]merge.Shown, error) {
	shown := make([]merge.Shown, len(diffs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDiffs)
	for i, d := range diffs[:max(len(diffs)-1, 0)] {
		group.Go(func() (err error) {
			shown[i].Attributed, err = s.attributed(ctx, owner, d)
			return err
		})
	}
	return shown, group.Wait()
}

// attributed returns the directories of d with extended attributes. A tree that
// was made from indexes is mounted for owner to find out.
func (s *Snapshotter) attributed(ctx context.Context, owner string, d cleanDiff) ([]string, error) {
	if !d.lower.IsTree() || d.lower.Tree.Kind == store.AsIs {
		return d.attributed, nil
	}
	dirs, err := s.lowerDirs(ctx, owner, []stack.Lower{d.lower})
	if err != nil {
		return nil, err
	}
	return merge.Attributed(ctx, dirs[0], s.mergeOptions())
}
