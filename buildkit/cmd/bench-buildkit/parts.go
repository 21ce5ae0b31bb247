package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// part is a figure of the steps of a build.
type part struct {
	name string
	of   func([]worker.Step) float64
	unit string
}

func (p part) show(figure float64) string { return fmt.Sprintf("%.3f %s", figure, p.unit) }

// isMerge finds the merges. They are steps of their own: a RUN takes the time
// after the merge of its input.
func isMerge(s worker.Step) bool { return s.Merging > 0 }
func isRun(s worker.Step) bool   { return strings.Contains(s.Name, "RUN ") }
func isCopy(s worker.Step) bool  { return strings.Contains(s.Name, "COPY ") }

// stepTook is how long the n-th of the steps took for which is holds, counted
// from the end if n is negative.
func stepTook(name string, is func(worker.Step) bool, n int) part {
	return part{name, func(steps []worker.Step) float64 { return nth(which(steps, is), n).Took.Seconds() }, "s"}
}

// The steps of twenty are a merge and the RUN on it. Of the first five and of
// the last five it is the median that counts: the very first RUN competes with
// the copies, all of which BuildKit makes at once.
var (
	first  = part{"first five", func(steps []worker.Step) float64 { return middle(steps, true).Seconds() }, "s"}
	last   = part{"last five", func(steps []worker.Step) float64 { return middle(steps, false).Seconds() }, "s"}
	growth = part{"last / first", func(steps []worker.Step) float64 {
		return middle(steps, false).Seconds() / max(middle(steps, true).Seconds(), 1e-3)
	}, "x"}
)

// middle is the median time of a RUN with its merge among the first five, or
// the last five.
func middle(steps []worker.Step, atFirst bool) time.Duration {
	merges, runs := which(steps, isMerge), which(steps, isRun)
	var took []time.Duration
	for i := range 5 {
		if !atFirst {
			i = -1 - i
		}
		took = append(took, nth(merges, i).Took+nth(runs, i).Took)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func which(steps []worker.Step, is func(worker.Step) bool) (some []worker.Step) {
	for _, s := range steps {
		if is(s) {
			some = append(some, s)
		}
	}
	return some
}

// nth is a step of no time if there are not so many.
func nth(steps []worker.Step, n int) worker.Step {
	if n < 0 {
		n += len(steps)
	}
	if n < 0 || n >= len(steps) {
		return worker.Step{}
	}
	return steps[n]
}
