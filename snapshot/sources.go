package snapshot

import (
	"maps"
	"math"
	"slices"
)

// sources are snapshots whose inodes something has, or may have: the set of their
// numbers.
type sources map[uint64]bool

// anyone is in sources that are not known: it stands for all snapshots. No
// snapshot has that number.
const anyone = math.MaxUint64

// known reports whether a names all snapshots that it stands for.
func (a sources) known() bool { return !a[anyone] }

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
