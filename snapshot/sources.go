package snapshot

import (
	"maps"
	"math"
	"slices"
)

// sources are the snapshots of which something has inodes, or may have: a set of their
// numbers.
type sources map[uint64]bool

// allSnapshots is in sources that are not known: any snapshot may be among them. None
// has that number.
const allSnapshots = math.MaxUint64

// known reports whether a names all snapshots that it stands for.
func (a sources) known() bool { return !a[allSnapshots] }

// meets reports whether there is, or may be, a snapshot in both.
func (a sources) meets(b sources) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	if !a.known() || !b.known() {
		return true
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	for id := range a {
		if b[id] {
			return true
		}
	}
	return false
}

func (a sources) and(b sources) sources {
	all := maps.Clone(a)
	if all == nil {
		all = sources{}
	}
	maps.Copy(all, b)
	return all
}

// list returns the numbers, sorted.
func (a sources) list() []uint64 { return slices.Sorted(maps.Keys(a)) }

func sourcesOf(ids ...uint64) sources {
	all := sources{}
	for _, id := range ids {
		all[id] = true
	}
	return all
}
