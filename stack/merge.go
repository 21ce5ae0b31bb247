package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/merge"
)

// Merge is a merge that a client requests: the diffs of Pairs, in order, over Parent.
type Merge struct {
	Parent Chain
	Pairs  []Pair
}

// Merge returns the stack of a merge of snapshots that c has pinned, and makes the
// directories that it needs. The trees of the stack remain mounted until Call.End. The error is ErrNotImplemented if the layers cannot be merged, that of ctx, or
// ErrUnavailable.
func (c *Call) Merge(ctx context.Context, m Merge) (*Stack, error) {
	diffs, err := c.cleanDiffs(ctx, m)
	if err != nil {
		return nil, classify(err)
	}
	parent := m.Parent.View()
	diffs = joinTrees(visible(diffs), isNextLayer)
	long := isLong(append(lowersIn(diffs), parent...))
	if long {
		diffs = joinTrees(diffs, areDiffs)
	}
	top, err := c.accumulate(ctx, diffs)
	if err != nil {
		return nil, classify(err)
	}
	s := &Stack{Lowers: lowersIn(diffs)}
	if long {
		if s.Lowers, err = c.squash(ctx, parent, s.Lowers); err != nil {
			return nil, classify(err)
		}
	}
	s.Lowers = append(s.Lowers, top...)
	whiteouts := slices.ContainsFunc(diffs, func(d cleanDiff) bool { return d.whiteouts })
	if len(parent) == 0 && len(s.Lowers) == 1 && (s.Lowers[0].IsMade() || whiteouts) {
		// A view would be a bind mount, and show whiteouts and extended attributes that
		// overlayfs hides.
		s.Lowers = slices.Insert(s.Lowers, 0, Lower{Diff: Empty})
	}
	return s, nil
}

func lowersIn(diffs []cleanDiff) []Lower {
	var lowers []Lower
	for _, d := range diffs {
		lowers = append(lowers, d.lower)
	}
	return lowers
}

// visible returns diffs, the lowest first, without empty ones and without ones that are the
// same directory or tree as a later one, which shows all of it.
func visible(diffs []cleanDiff) []cleanDiff {
	var visible []cleanDiff
	for _, d := range slices.Backward(diffs) {
		same := func(e cleanDiff) bool { return e.lower.Equal(d.lower) }
		if !d.empty && !slices.ContainsFunc(visible, same) {
			visible = append(visible, d)
		}
	}
	slices.Reverse(visible)
	return visible
}

// classify gives an error that has no class (errdefs) one that tells the client what to do:
// to copy by itself, or to try again.
func classify(err error) error {
	switch {
	case errdefs.IsNotImplemented(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, merge.ErrRedirect):
		return fmt.Errorf("%w: %w", errdefs.ErrNotImplemented, err)
	}
	return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
}
