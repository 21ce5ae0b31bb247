package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// timed is a test and how long it took.
type timed struct {
	name
	took time.Duration
}

// slowest are the longest of the tests that have ended, at most shownSlowest,
// longest first. Subtests are left out: their time is in that of their test.
type slowest struct {
	tests []timed
	// clocks are when tests that have not ended began, less the time in which they
	// waited for their turn (testing.T.Parallel), or since when they wait for it. What
	// go test itself says leaves out subtests that run side by side.
	clocks map[name]time.Time
	pauses map[name]time.Time
}

const shownSlowest = 10

// clock takes the events run, pause and cont.
func (s *slowest) clock(n name, e event) {
	if s.clocks == nil {
		s.clocks, s.pauses = map[name]time.Time{}, map[name]time.Time{}
	}
	switch e.Action {
	case "run":
		s.clocks[n] = e.Time
	case "pause":
		s.pauses[n] = e.Time
	case "cont":
		s.clocks[n] = s.clocks[n].Add(e.Time.Sub(s.pauses[n]))
		delete(s.pauses, n)
	}
}

// add takes the end of a test. Those that took no measurable time are left out.
func (s *slowest) add(n name, e event) {
	began, ok := s.clocks[n]
	delete(s.clocks, n)
	took := e.Time.Sub(began)
	if !ok || strings.Contains(n.test, "/") || took < time.Millisecond {
		return
	}
	s.tests = append(s.tests, timed{n, took})
	slices.SortStableFunc(s.tests, func(a, b timed) int { return cmp.Compare(b.took, a.took) })
	s.tests = s.tests[:min(len(s.tests), shownSlowest)]
}

// print prints a line for each test.
func (s *slowest) print(out io.Writer) {
	if len(s.tests) == 0 {
		return
	}
	fmt.Fprintln(out, "\nslowest:")
	for _, t := range s.tests {
		fmt.Fprintf(out, "  %7.1fs  %s %s\n", t.took.Seconds(), t.pkg, t.test)
	}
	fmt.Fprintln(out)
}
