package stack

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/merge"
)

// If the lowers of a merge and its parent exceed one of these limits, the merge gets fewer
// lowers of its own. Snapshots above a merge add to its lowers.
const (
	MaxLowers      = 200  // in number
	maxLowerLength = 2000 // in bytes: see lengthOf
)

// The kernel accepts 500 lowers, and a page of mount options (Linux 6.18). Within these
// limits there is room for other options and for snapshots above the merge.
const (
	mostLowers      = 480
	mostLowerLength = 3600
)

func isLong(lowers []Lower) bool { return len(lowers) > MaxLowers || lengthOf(lowers) > maxLowerLength }

// squash replaces each run of directories among lowers, the lowest first, by one directory
// of links. Files of trees cannot be linked: trees remain. parent are the lowers below. The
// error is ErrNotImplemented if a mount of the result would exceed the limits.
func (c *Call) squash(ctx context.Context, parent, lowers []Lower) ([]Lower, error) {
	var short []Lower
	for len(lowers) > 0 {
		n := max(1, runLength(lowers))
		l := lowers[0]
		if n > 1 {
			var err error
			if l, err = c.squashRun(ctx, lowers[:n]); err != nil {
				return nil, err
			}
		}
		short, lowers = append(short, l), lowers[n:]
	}
	if n := len(parent) + len(short); n > mostLowers || lengthOf(parent)+lengthOf(short) > mostLowerLength {
		return nil, fmt.Errorf("%w: %d lowerdirs are too many for an overlay mount, and cannot be joined: lazy and local layers alternate",
			errdefs.ErrNotImplemented, n)
	}
	return short, nil
}

// runLength returns how many directories lowers begins with.
func runLength(lowers []Lower) int {
	if n := slices.IndexFunc(lowers, Lower.IsTree); n >= 0 {
		return n
	}
	return len(lowers)
}

// squashRun makes one directory of several, the lowest first.
func (c *Call) squashRun(ctx context.Context, run []Lower) (Lower, error) {
	run = slices.Clone(run)
	slices.Reverse(run)
	dirs, err := c.dirs(ctx, run)
	if err != nil {
		return Lower{}, err
	}
	diff, err := merge.Squash(ctx, dirs, c.mergeOptions())
	if err != nil {
		return Lower{}, err
	}
	return c.makePart(ctx, squashPrefix, diff, run, dirs)
}
