package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
)

// pair is one pair of a merge.
type pair struct {
	// name is the numbers of the two snapshots, "0" for none: no two pairs
	// ever have the same.
	name         string
	lower, upper []stack.Lower // what their views show, the lowest first
	base         []stack.Lower // lower, in fewer trees
	apart        bool          // it must share no inode with anything (apart.go)
}

// prepareMerge makes an active snapshot that shows, above parent, the clean
// diffs of the pairs that its client asks for.
func (s *Snapshotter) prepareMerge(ctx context.Context, m making, keys []merge.Keys) ([]mount.Mount, error) {
	pin := s.pin()
	defer pin.release()
	pairs, err := s.readPairs(ctx, m.key, keys, pin)
	if err != nil {
		return nil, err
	}
	below, err := s.viewed(ctx, m.parent)
	if err != nil {
		return nil, err
	}
	s.markApart(below, pairs, pin)
	owner := s.owner(fmt.Sprint("merge-", s.diffs.next()))
	defer s.releaseTrees(ctx, owner) // by then those that are shown are the snapshot's
	m.stack, err = s.plan(ctx, planning{m.parent, below, owner, pin}, pairs)
	if err != nil {
		return nil, fmt.Errorf("merge %q: %w", m.key, err)
	}
	labels, err := stackLabels(m.stack)
	if err != nil {
		return nil, err
	}
	maps.Copy(labels, m.labels)
	m.labels = labels
	return s.create(ctx, m)
}

func (s *Snapshotter) pin() *pinned { return &pinned{pins: &s.pins, claims: s.opts.Claims} }

// readPairs finds the snapshots that keys name, and pins them. What lies below
// a snapshot is there for as long as the snapshot is.
func (s *Snapshotter) readPairs(ctx context.Context, caller string, keys []merge.Keys, pin *pinned) ([]pair, error) {
	names := map[string]bool{}
	for _, k := range keys {
		names[k.Lower], names[k.Upper] = true, true
	}
	delete(names, "")
	for {
		var pairs []pair
		var all, again map[string]found
		err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
			if all, err = s.find(ctx, caller, names); err == nil {
				pairs, err = readFound(ctx, keys, all)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range pairs {
			for _, side := range [][]stack.Lower{p.lower, p.upper, p.base} {
				pin.add(side)
			}
			pin.addDiff(p.name)
		}
		err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
			again, err = s.find(ctx, caller, names)
			return err
		})
		if err != nil {
			return nil, err
		}
		if maps.Equal(all, again) {
			return pairs, nil
		}
		pin.release()
	}
}

// readFound needs the transaction in which all were found.
func readFound(ctx context.Context, keys []merge.Keys, all map[string]found) ([]pair, error) {
	known := chains{}
	var pairs []pair
	for _, k := range keys {
		if k == (merge.Keys{}) {
			continue
		}
		below, above := all[k.Lower], all[k.Upper]
		p := pair{name: fmt.Sprintf("%v-%v", below.id, above.id)}
		chain, err := known.read(ctx, below.key)
		if err != nil {
			return nil, err
		}
		p.lower, p.base = chain.View(), chain.Active()
		if chain, err = known.read(ctx, above.key); err != nil {
			return nil, err
		}
		p.upper = chain.View()
		for _, side := range [][]stack.Lower{p.lower, p.upper, p.base} {
			slices.Reverse(side)
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// parallelDiffs bounds the clean diffs that one merge has made at once.
const parallelDiffs = 4

// planning is a merge whose stack is to be found.
type planning struct {
	parent string
	below  []stack.Lower // what a view of parent shows, the topmost first
	owner  string        // of the trees that it takes to find out
	pin    *pinned
}

// plan finds the stack of a merge, and has made what of it is not there.
func (s *Snapshotter) plan(ctx context.Context, m planning, pairs []pair) (*stack.Stack, error) {
	diffs, err := s.cleanDiffs(ctx, m, pairs)
	if err != nil {
		return nil, unavailable(err)
	}
	diffs = joinTrees(shownOf(diffs), isChain)
	long := isLong(append(lowersIn(diffs), m.below...), maxLowers, maxLowerBytes)
	if long {
		diffs = joinTrees(diffs, areDiffs)
	}
	top, err := s.accumulate(ctx, m, diffs)
	if err != nil {
		return nil, unavailable(err)
	}
	st := &stack.Stack{Lowers: lowersIn(diffs)}
	if long {
		if st.Lowers, err = s.squash(ctx, m, st.Lowers); err != nil {
			return nil, err
		}
	}
	st.Lowers = append(st.Lowers, top...)
	if m.parent == "" && len(st.Lowers) == 1 && (st.Lowers[0].IsMade() || slices.ContainsFunc(diffs, hasWhiteouts)) {
		// A bind mount would show them, or marks of what was made.
		st.Lowers = slices.Insert(st.Lowers, 0, stack.Lower{Diff: stack.Empty})
	}
	return st, nil
}

func hasWhiteouts(d cleanDiff) bool { return d.whiteouts }

func lowersIn(diffs []cleanDiff) []stack.Lower {
	var lowers []stack.Lower
	for _, d := range diffs {
		lowers = append(lowers, d.lower)
	}
	return lowers
}

// viewed returns what a view of the snapshot shows, the topmost first.
func (s *Snapshotter) viewed(ctx context.Context, name string) (lowers []stack.Lower, err error) {
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		chain, err := readChain(ctx, name)
		lowers = chain.View()
		return err
	})
	return lowers, err
}

// cleanDiffs finds the clean diffs of all pairs.
func (s *Snapshotter) cleanDiffs(ctx context.Context, m planning, pairs []pair) ([]cleanDiff, error) {
	diffs := make([]cleanDiff, len(pairs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDiffs)
	for i, p := range pairs {
		group.Go(func() (err error) {
			diffs[i], err = s.cleanDiff(ctx, m.owner, p, i == 0 && m.parent == "")
			return err
		})
	}
	return diffs, group.Wait()
}

// shownOf returns those of diffs that show something in their stack.
func shownOf(diffs []cleanDiff) []cleanDiff {
	var shown []cleanDiff
	for _, d := range slices.Backward(diffs) {
		same := func(e cleanDiff) bool { return e.lower.Equal(d.lower) }
		if !d.empty && !slices.ContainsFunc(shown, same) { // else what is above shows all of it
			shown = append(shown, d)
		}
	}
	slices.Reverse(shown)
	return shown
}

// unavailable gives errors that have no class of their own the one of layers
// that cannot be had.
func unavailable(err error) error {
	switch {
	case errors.Is(err, merge.ErrRedirect):
		return fmt.Errorf("%w: %w", errdefs.ErrNotImplemented, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
}
