package snapshot

import "testing"

// What settling panics with is the end of that snapshot's turn, and of nothing
// else: the next one settles.
func TestSettlePanics(t *testing.T) {
	s := newSettled(t)
	s.commit("one", "", "file")
	s.commit("two", "", "file")
	look := s.settlers.look
	s.settlers.look = func() (map[uint64][]uint64, error) { panic("a bug") }
	s.pass()
	if s.share("one", "two", "file") {
		t.Error("the snapshots share an inode")
	}
	s.settlers.look = look
	s.commit("three", "", "file")
	s.pass()
	if !s.share("one", "three", "file") {
		t.Error("the snapshots share no inode")
	}
}
