package stack

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/store"
)

// parallelDiffs bounds the clean diffs of one merge that are looked for at once.
const parallelDiffs = 4

// cleanDiffs finds the clean diffs of the pairs of m, and makes the ones that do not exist.
func (c *Call) cleanDiffs(ctx context.Context, m Merge) ([]cleanDiff, error) {
	apart := c.markApart(m)
	found := make([]cleanDiff, len(m.Pairs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDiffs)
	for i, p := range m.Pairs {
		group.Go(func() (err error) {
			if spec, ok := p.sides.index(i == 0 && len(m.Parent) == 0); ok {
				found[i] = cleanDiff{lower: Lower{Tree: spec}, whiteouts: spec.Kind == store.Diff}
				return nil
			}
			found[i], err = c.cleanDiff(ctx, p, apart[i])
			return err
		})
	}
	return found, group.Wait()
}

// markApart tells, by pair, which of the clean diffs must be apart: their directories have
// copies of the files that have several names, since links to them would show two names of
// one inode in the merge.
func (c *Call) markApart(m Merge) []bool {
	var uppers []hardlink.Sources
	for _, p := range m.Pairs {
		uppers = append(uppers, Sources(p.sides.upper))
	}
	return c.opts.Sharing.MustBeApart(Sources(m.Parent.View()), uppers)
}

// cleanDiff finds the clean diff of a pair of which a side is local, or makes it.
func (c *Call) cleanDiff(ctx context.Context, p Pair, apart bool) (cleanDiff, error) {
	name := p.nameOf(apart)
	unlock, err := c.making.LockContext(ctx, name)
	if err != nil {
		return cleanDiff{}, err
	}
	defer unlock()
	if apart {
		// Each copy adds names to files: the result is not cached, since a layer that
		// is clean now need not be so later.
		unlock, err := c.opts.Sharing.LockNames(ctx)
		if err != nil {
			return cleanDiff{}, err
		}
		defer unlock()
	} else if d, ok := c.diffs.get(name); ok {
		return d, nil
	}
	d, err := c.findDiff(ctx, p, name)
	if err == nil && !apart {
		c.diffs.put(name, d)
	}
	return d, err
}

func (c *Call) findDiff(ctx context.Context, p Pair, name diffName) (cleanDiff, error) {
	if _, err := os.Lstat(c.opts.Dirs.Diff(name.String())); err == nil {
		return c.madeDiff(ctx, name)
	} else if !errors.Is(err, os.ErrNotExist) {
		return cleanDiff{}, err
	}
	opts := c.mergeOptions()
	opts.Apart = name.apart
	s, scan := p.sides, merge.Compare
	if s.adjacent() {
		// Files are looked up in the lower side. One tree over all of its layers is
		// sufficient, since it does not matter which layer has a file.
		s = sides{p.lowerActive, s.upper[:1]}
		scan = func(ctx context.Context, lower, upper []string, opts merge.Options) (*merge.Diff, error) {
			return merge.Scan(ctx, upper[0], lower, opts)
		}
	}
	lower, errLower := c.dirs(ctx, s.lower)
	upper, errUpper := c.dirs(ctx, s.upper)
	if err := errors.Join(errLower, errUpper); err != nil {
		return cleanDiff{}, err
	}
	diff, err := scan(ctx, lower, upper, opts)
	switch {
	case err != nil:
		return cleanDiff{}, err
	case diff.Empty():
		return cleanDiff{empty: true}, nil
	case diff.AsIs:
		return cleanDiff{lower: s.upper[0], whiteouts: diff.Whiteouts, attributed: diff.Attributed}, nil
	}
	of, err := c.make(ctx, name.String(), diff, slices.Concat(s.upper, s.lower), slices.Concat(upper, lower))
	if err != nil {
		return cleanDiff{}, err
	}
	if name.apart {
		c.diffs.putApart(name, of)
	}
	return cleanDiff{lower: Lower{Diff: name.String(), Of: of}, whiteouts: diff.Whiteouts, attributed: diff.Attributed}, nil
}

// madeDiff returns a clean diff that has a directory, which an earlier process may have
// made.
func (c *Call) madeDiff(ctx context.Context, name diffName) (cleanDiff, error) {
	d := cleanDiff{lower: Lower{Diff: name.String()}, whiteouts: true}
	var err error
	if d.attributed, err = merge.Attributed(ctx, c.opts.Dirs.Lower(d.lower), c.mergeOptions()); err != nil {
		return d, err
	}
	d.lower.Of, err = c.sourcesOf(d.lower.Diff)
	return d, err
}
