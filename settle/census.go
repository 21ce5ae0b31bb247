package settle

import "slices"

// census has the snapshots that show the directory of each member, by one List. Two members
// are apart if no snapshot shows both. Chains do not change, and the removal of a snapshot
// only reduces what is shown together: until the next merge, members that are apart in a
// census are apart.
type census struct {
	merges uint64              // merges made before the census, plus one; zero: there is no census
	by     map[uint64][]uint64 // snapshots that show a member, by member
	// of is the first member of the last isApart, and shownBy is by[of] as a set:
	// members settle one after the other, and each is compared with many.
	of      uint64
	shownBy map[uint64]bool
}

// newCensus makes a census of all snapshots.
func newCensus(all []Snapshot, merges uint64) census {
	stored := map[uint64]Snapshot{}
	for _, s := range all {
		stored[s.ID] = s
	}
	c := census{merges: merges, by: map[uint64][]uint64{}}
	for _, s := range all {
		for at := s; at.ID != 0; at = stored[at.Parent] {
			for _, member := range at.Dirs {
				c.by[member] = append(c.by[member], s.ID)
			}
		}
	}
	return c
}

// isApart reports whether some snapshot shows a, one shows b, and none shows both.
func (c *census) isApart(a, b uint64) bool {
	mine, others := c.by[a], c.by[b]
	if len(mine) == 0 || len(others) == 0 {
		return false
	}
	if c.of != a || c.shownBy == nil {
		c.of, c.shownBy = a, map[uint64]bool{}
		for _, id := range mine {
			c.shownBy[id] = true
		}
	}
	return !slices.ContainsFunc(others, func(id uint64) bool { return c.shownBy[id] })
}
