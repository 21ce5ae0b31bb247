package stack

import (
	"slices"

	"github.com/ladle-dev/ladle/store"
)

// Stack is what a merge shows above its parent.
type Stack struct {
	Lowers []Lower // the lowest first
	// Bare: the upper directory of the merge is not one of its lowers. It is empty,
	// and its root is like that of the topmost lower.
	Bare bool
}

// LowersOf returns the lowers of s, the lowest first, if s is the stack of the merge id.
func (s *Stack) LowersOf(id uint64) []Lower {
	lowers := slices.Clone(s.Lowers)
	for i := range lowers {
		if lowers[i].Part != "" && lowers[i].Snapshot == 0 {
			lowers[i].Snapshot = id
		}
	}
	return lowers
}

// Layers returns the layers of all trees. A layer of several trees is returned several
// times.
func (s *Stack) Layers() []store.ID { return Layers(s.Lowers) }
