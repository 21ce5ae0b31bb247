package merge

import (
	"slices"

	"github.com/ladle-dev/ladle/store"
)

// Lower is one lowerdir: the tree of a Spec if that has layers, else a directory.
type Lower struct {
	Dir  string
	Tree store.Spec
}

// IsTree reports whether l is a tree.
func (l Lower) IsTree() bool { return len(l.Tree.Layers) > 0 }

func (l Lower) equal(m Lower) bool {
	return l.Dir == m.Dir && l.Tree.Equal(m.Tree)
}

// Side is one side of a pair: the lowerdirs of a view of the snapshot, the lowest first.
// An empty snapshot has none.
type Side []Lower

// Pair is the input of a clean diff.
type Pair struct{ Lower, Upper Side }

// Index returns the tree that is the clean diff, if both sides are trees of whole layers:
// it is made from their indexes, without reading files. lowest says that the merge has no
// lowerdir below the diff.
func (p Pair) Index(lowest bool) (spec store.Spec, ok bool) {
	upper, ok := layersOf(p.Upper)
	if !ok || len(upper) == 0 {
		return store.Spec{}, false
	}
	lower, ok := layersOf(p.Lower)
	if !ok {
		return store.Spec{}, false
	}
	if lowest && len(lower) == 0 {
		return store.Spec{Kind: store.Lowest, Layers: upper}, true
	}
	return store.Spec{Kind: store.Diff, Layers: upper, Lower: lower}, true
}

// layersOf returns the layers of a side that consists of unmodified layers only. Each but
// the lowest must be of kind store.AsIs.
func layersOf(side Side) (layers []store.ID, ok bool) {
	for i, l := range side {
		switch {
		case !l.IsTree() || l.Tree.Kind == store.Diff || l.Tree.Kind == store.Stack:
			return nil, false
		case i > 0 && l.Tree.Kind != store.AsIs:
			return nil, false
		}
		layers = append(layers, l.Tree.Layers...)
	}
	return layers, true
}

// Own returns the lowerdir that upper has above lower, and whether the sides are
// adjacent: upper is lower and that one lowerdir.
func (p Pair) Own() (own Lower, ok bool) {
	n := len(p.Lower)
	if len(p.Upper) != n+1 || !slices.EqualFunc(p.Lower, p.Upper[:n], Lower.equal) {
		return Lower{}, false
	}
	return p.Upper[n], true
}
