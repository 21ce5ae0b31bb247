package snapshot

import "maps"

// part marks those pairs of a merge over below that must not be stacked as they
// are, since the merge would show partners. The pairs are pinned, and nothing is
// being replaced that was free before.
func (s *Snapshotter) part(below []lower, pairs []pair, pin *pinned) {
	if !s.settlers.partners.any() {
		return
	}
	theirs := s.settlers.partners.of(membersOf(below)) // of all that is shown
	for i := range pairs {
		more := membersOf(pairs[i].upper)
		if theirs.meets(more) {
			pairs[i].apart = true
			pairs[i].name += apartSuffix
			pin.addDiff(pairs[i].name)
			continue
		}
		maps.Copy(theirs, s.settlers.partners.of(more))
	}
}
