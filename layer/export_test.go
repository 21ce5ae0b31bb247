package layer

import (
	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/fetch"
)

// For the tests of what is linked to what.
var LinkedTo = linkedTo

const MaxNames = maxNames

// Starve leaves no blocks to the parts of runs but their own, and lets one run at
// a time go ahead of readers. Nothing may be under way.
func Starve(s *Set) {
	s.budget.blocks = semaphore.NewWeighted(0)
	s.budget.runs = semaphore.NewWeighted(1)
}

// Runs returns how many runs l has, those included that wait for their turn.
func Runs(l *Layer) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.runs)
}

// Readers returns how many readers wait for runs of l.
func Readers(l *Layer) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.mu.runs {
		r.mu.Lock()
		n += r.mu.readers
		r.mu.Unlock()
	}
	return n
}

// IsOpening reports whether the index of src is being fetched.
func IsOpening(s *Set, src fetch.Source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.mu.openings[src]
	return o != nil && !o.ended()
}

// IsPresent reports whether all chunks with bytes in [off, off+n) are present.
func (l *Layer) IsPresent(off, n int64) bool { return l.present(l.overlap(off, n), nil) }
