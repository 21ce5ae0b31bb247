package snapshot

import (
	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/stack"
)

// markApart marks those pairs of a merge over below of which the clean diffs must be
// copies and not links, since the merge would show two names of an inode. The pairs
// are pinned.
func (s *Snapshotter) markApart(below []stack.Lower, pairs []pair, pin *pinned) {
	var diffs []hardlink.Sources
	for _, p := range pairs {
		diffs = append(diffs, stack.Sources(p.upper))
	}
	for i, apart := range s.sharing.MustBeApart(stack.Sources(below), diffs) {
		if apart {
			pairs[i].apart = true
			pairs[i].name += apartSuffix
			pin.addDiff(pairs[i].name)
		}
	}
}
