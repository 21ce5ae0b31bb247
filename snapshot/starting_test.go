package snapshot

import (
	"slices"
	"testing"
)

// Only what is prepared to be written to is likely to be run.
func TestStartingIsSaidOfWhatRuns(t *testing.T) {
	d := newDisk(t)
	s := newEndpoint(t, d)
	c := makeChain(t, d, s, "rr")
	if _, err := s.View(t.Context(), "view", c.top); err != nil {
		t.Fatal(err)
	}
	if got := d.takeCalls(); slices.Contains(got, "starting 2") {
		t.Errorf("of a pull and a view: %q", got)
	}
	if _, err := s.Prepare(t.Context(), "active", c.top); err != nil {
		t.Fatal(err)
	}
	if got := d.takeCalls(); !slices.Contains(got, "starting 2") {
		t.Errorf("of a snapshot to run in: %q", got)
	}
}
