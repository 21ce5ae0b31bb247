package hardlink

import (
	"maps"
	"math"
	"slices"
)

// Sources are the members of which something (a directory, an overlay mount) has
// inodes, or may have: a set of their numbers (Members).
type Sources map[uint64]bool

// Unknown is in Sources that are not known: any member may be among them. It is the
// number of no member.
const Unknown = math.MaxUint64

// SourcesOf returns a set of the given members.
func SourcesOf(ids ...uint64) Sources {
	all := Sources{}
	for _, id := range ids {
		all[id] = true
	}
	return all
}

// Known reports whether a lists all members that it stands for.
func (a Sources) Known() bool { return !a[Unknown] }

// Has reports whether the member id is in a, or may be.
func (a Sources) Has(id uint64) bool { return a[id] || !a.Known() }

// Meets reports whether there is, or may be, a member that is in both sets. No member
// is in an empty set and another one, whatever the other is.
func (a Sources) Meets(b Sources) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	if !a.Known() || !b.Known() {
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

// With returns the union of a and b. It changes neither.
func (a Sources) With(b Sources) Sources {
	all := maps.Clone(a)
	if all == nil {
		all = Sources{}
	}
	maps.Copy(all, b)
	return all
}

// List returns the numbers, sorted; Unknown is one of them if it is in a.
func (a Sources) List() []uint64 { return slices.Sorted(maps.Keys(a)) }
