package stack

import (
	"slices"

	"github.com/ladle-dev/ladle/store"
)

// Pair is one pair of a merge (package merge): the diff between two snapshots, either of
// which can be empty. PairOf makes one.
type Pair struct {
	name        diffName
	sides       sides // what views of the two snapshots show
	lowerActive []Lower
}

// sides are the lowers of a pair, each topmost first.
type sides struct{ lower, upper []Lower }

// PairOf returns the pair of two snapshots, given by their chains.
func PairOf(lower, upper Chain) Pair {
	return Pair{
		name:        diffName{lower: lower.Top(), upper: upper.Top()},
		sides:       sides{lower.View(), upper.View()},
		lowerActive: lower.Active(),
	}
}

// nameOf returns the name of the clean diff of p, or of the one that is apart.
func (p Pair) nameOf(apart bool) diffName {
	p.name.apart = apart
	return p.name
}

// index returns the tree that is the clean diff, if both sides are trees of whole layers:
// it is made from their indexes, without reading files. lowest says that the merge has no
// lower below the diff.
func (s sides) index(lowest bool) (spec store.Spec, ok bool) {
	upper, ok := wholeLayers(s.upper)
	if !ok || len(upper) == 0 {
		return store.Spec{}, false
	}
	lower, ok := wholeLayers(s.lower)
	if !ok {
		return store.Spec{}, false
	}
	if lowest && len(lower) == 0 {
		return store.Spec{Kind: store.Lowest, Layers: upper}, true
	}
	return store.Spec{Kind: store.Diff, Layers: upper, Lower: lower}, true
}

// wholeLayers returns the layers of a side, the lowest first, if it consists of trees of
// whole layers only.
func wholeLayers(side []Lower) (layers []store.ID, ok bool) {
	for i, l := range slices.Backward(side) {
		lowest := i == len(side)-1
		if !l.IsTree() || l.Tree.Kind != store.AsIs && !(lowest && l.Tree.Kind == store.Lowest) {
			return nil, false
		}
		layers = append(layers, l.Tree.Layers...)
	}
	return layers, true
}

// adjacent reports whether upper is lower and one lower above it.
func (s sides) adjacent() bool {
	n := len(s.lower)
	return len(s.upper) == n+1 && slices.EqualFunc(s.lower, s.upper[1:], Lower.Equal)
}
