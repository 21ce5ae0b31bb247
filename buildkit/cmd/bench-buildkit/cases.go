package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ladle-dev/ladle/buildkit/worker"
)

// benchCase is a build from the image BASE, whose context is a file "hello" and
// a directory "many" of 2,000 files.
type benchCase struct {
	id    string // for -steps
	name  string
	steps string // after the line that makes BASE the stage base
	graph string // name of the graph to build instead of steps
	push  bool   // the result; otherwise there is no output
	// warm is built first, without being measured.
	warm string
	// of picks what is measured, by what it is called; nil for the whole build.
	of map[string]func([]worker.Step) time.Duration
}

var cases = []benchCase{
	{id: "copy", name: "COPY --from, one file", steps: "FROM scratch\nCOPY --from=base /etc/passwd /\n"},
	{id: "run", name: "RUN python3", steps: "FROM base\nRUN python3 -c 'print(1)'\n"},
	{id: "link", name: "COPY --link and RUN, twice",
		steps: "FROM base\nCOPY --link hello /a/\nRUN cat /a/hello\nCOPY --link hello /b/\nRUN cat /b/hello\n"},
	{id: "push", name: "COPY --link and push", steps: "FROM base\nCOPY --link hello /a/\n", push: true},
	{id: "merge", name: "RUN on Merge(A, B)", graph: "run-merge"},
	{id: "diff", name: "RUN on Merge(A, Diff(A, B))", graph: "run-merge-diff"},
	{id: "local", name: "merge of a local layer of 2,000 files",
		warm:  "FROM base\nRUN true\n",
		steps: "FROM base\nCOPY --link many /many/\nRUN true\n",
		of:    map[string]func([]worker.Step) time.Duration{"merge": merging(-1), "with RUN": took(-1)}},
	{id: "twenty", name: "COPY --link and RUN, twenty times",
		warm: "FROM base\nRUN true\n", steps: twenty(),
		of: map[string]func([]worker.Step) time.Duration{"first RUN": took(0), "last RUN": took(-1), "first merge": merging(0), "last merge": merging(-1)}},
}

// twenty is twenty times a linked copy and a command that writes.
func twenty() string {
	steps := "FROM base\n"
	for i := range 20 {
		steps += fmt.Sprintf("COPY --link many /many%[1]d/\nRUN echo %[1]d >/made%[1]d\n", i)
	}
	return steps
}

// took is how long the n-th RUN took, counted from the end if n is negative.
// The merge of its input is part of that.
func took(n int) func([]worker.Step) time.Duration {
	return func(steps []worker.Step) time.Duration {
		return nth(steps, n, func(s worker.Step) bool { return strings.Contains(s.Name, "RUN ") }).Took
	}
}

// merging is how long the n-th merge took.
func merging(n int) func([]worker.Step) time.Duration {
	return func(steps []worker.Step) time.Duration {
		return nth(steps, n, func(s worker.Step) bool { return s.Merging > 0 }).Merging
	}
}

// nth is the n-th of the steps for which is holds.
func nth(steps []worker.Step, n int, is func(worker.Step) bool) worker.Step {
	steps = slices.DeleteFunc(slices.Clone(steps), func(s worker.Step) bool { return !is(s) })
	if n < 0 {
		n += len(steps)
	}
	if n < 0 || n >= len(steps) {
		return worker.Step{}
	}
	return steps[n]
}
