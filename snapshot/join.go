package snapshot

import (
	"slices"

	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// joinTrees makes one tree of each run of diffs of lazy layers in which each two that
// follow each other belong together.
func joinTrees(diffs []cleanDiff, together func(a, b store.Spec) bool) []cleanDiff {
	var short []cleanDiff
	for len(diffs) > 0 {
		run := []store.Spec{diffs[0].lower.Tree}
		for len(run) < len(diffs) && together(run[len(run)-1], diffs[len(run)].lower.Tree) {
			run = append(run, diffs[len(run)].lower.Tree)
		}
		if len(run) == 1 {
			short = append(short, diffs[0])
		} else {
			short = append(short, cleanDiff{lower: stack.Lower{Tree: store.StackOf(run...)}, whiteouts: true})
		}
		diffs = diffs[len(run):]
	}
	return short
}

// isChain reports whether b is from what a is to, as an image's layers are. One
// tree of a chain is made and mounted faster than several, and all merges with
// the image share it.
func isChain(a, b store.Spec) bool {
	return a.Kind == store.Diff && b.Kind == store.Diff && slices.Equal(a.Layers, b.Lower)
}

// areDiffs reports whether one tree can be made of a and b at all.
func areDiffs(a, b store.Spec) bool { return a.Kind >= store.Diff && b.Kind >= store.Diff }
