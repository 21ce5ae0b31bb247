package stack

import (
	"slices"

	"github.com/ladle-dev/ladle/store"
)

// joinTrees replaces each run of diffs of lazy layers by one diff, a tree of all of them.
// In a run, follows(a, b) is true for each two neighbours.
func joinTrees(diffs []cleanDiff, follows func(a, b store.Spec) bool) []cleanDiff {
	var joined []cleanDiff
	for len(diffs) > 0 {
		run := []store.Spec{diffs[0].lower.Tree}
		for len(run) < len(diffs) && follows(run[len(run)-1], diffs[len(run)].lower.Tree) {
			run = append(run, diffs[len(run)].lower.Tree)
		}
		if len(run) == 1 {
			joined = append(joined, diffs[0])
		} else {
			joined = append(joined, cleanDiff{lower: Lower{Tree: store.StackOf(run...)}, whiteouts: true})
		}
		diffs = diffs[len(run):]
	}
	return joined
}

// isNextLayer reports whether the upper side of the diff a is the lower side of b, as with
// the layers of an image. One tree of all layers is made and mounted faster than one of
// each, and all merges with the image share it.
func isNextLayer(a, b store.Spec) bool {
	return a.Kind == store.Diff && b.Kind == store.Diff && slices.Equal(a.Layers, b.Lower)
}

// areDiffs reports whether one tree can be made of a and b.
func areDiffs(a, b store.Spec) bool { return a.Kind >= store.Diff && b.Kind >= store.Diff }
