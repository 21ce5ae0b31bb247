package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// timed is a test and how long it took, in seconds.
type timed struct {
	name
	seconds float64
}

// slowest are the longest of the tests that were added, at most shownSlowest,
// longest first.
type slowest []timed

const shownSlowest = 10

// add adds a test that took that many seconds. Subtests and tests that took no
// measurable time are left out: the time of a subtest is in that of its test.
func (s *slowest) add(n name, seconds float64) {
	if strings.Contains(n.test, "/") || seconds <= 0 {
		return
	}
	*s = append(*s, timed{n, seconds})
	slices.SortStableFunc(*s, func(a, b timed) int { return cmp.Compare(b.seconds, a.seconds) })
	*s = (*s)[:min(len(*s), shownSlowest)]
}

// print prints a line for each test.
func (s slowest) print(out io.Writer) {
	if len(s) == 0 {
		return
	}
	fmt.Fprintln(out, "\nslowest:")
	for _, t := range s {
		fmt.Fprintf(out, "  %7.1fs  %s %s\n", t.seconds, t.pkg, t.test)
	}
	fmt.Fprintln(out)
}
