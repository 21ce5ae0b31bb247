package main

import (
	"fmt"
	"slices"
)

// benchCase is a build from the image BASE, whose context is a file "hello" and
// a directory "many" of 2,000 files.
type benchCase struct {
	id, name string // id is for -steps
	base     string // recipe of BASE; "" for that of -image
	build
	push    bool     // the result; otherwise there is no output
	warm    []build  // are built first, without being measured
	columns []string // where it is built; nil for everywhere
	disk    string   // filesystem of all state; "" for ext4
	// settles: ladle's columns also show how far the disk has grown when
	// nothing more is to be stored once.
	settles bool
	parts   []part // what is shown besides the whole build
}

// build is one call of buildctl.
type build struct {
	steps  string // after the line that makes BASE the stage base
	target string // the stage to build; "" for the last one
	graph  string // name of the graph to build instead of steps
}

// onBase are the steps of a command on the base.
func onBase(command string) build { return build{steps: "FROM base\nRUN " + command + "\n"} }

const python = "python3 -c 'print(1)'"

// ends are the columns of builds that would take too long in all: with
// BuildKit's own daemon a merge reads each file of a lazy image for itself, one
// after the other, and what is copied between stages is large.
var ends = []string{"overlayfs", ladleBuildkitd}

var cases = []benchCase{
	{id: "copy", name: "COPY --from, one file", build: build{steps: "FROM scratch\nCOPY --from=base /etc/passwd /\n"}},
	{id: "run", name: "RUN python3 on the base", build: onBase(python)},
	{id: "link", name: "COPY --link and RUN, twice",
		build: build{steps: "FROM base\nCOPY --link hello /a/\nRUN cat /a/hello\nCOPY --link hello /b/\nRUN cat /b/hello\n"}},
	{id: "push", name: "COPY --link and push", build: build{steps: "FROM base\nCOPY --link hello /a/\n"}, push: true},
	{id: "merge", name: "RUN on Merge(A, B)", build: build{graph: "run-merge"}},
	{id: "diff", name: "RUN on Merge(A, Diff(A, B))", build: build{graph: "run-merge-diff"}},
	{id: "wide", name: "RUN on Merge(P, W)", base: "debian-python", columns: ends, build: build{graph: "run-merge-wide"}},
	{id: "wide-warm", name: "RUN on Merge(P, W), both read before", base: "debian-python", columns: ends,
		warm: []build{onBase(python), {graph: "walk-all-wide"}}, build: build{graph: "run-merge-wide"}, parts: []part{stepTook("merge", isMerge, -1)}},
	{id: "diff-parent", name: "listing Diff(P', P), both listed before", base: "debian-python",
		warm: []build{{graph: "walk-base"}}, build: build{graph: "walk-diff-parent"}},
	{id: "diff-other", name: "listing Diff(P, A), both listed before", base: "debian-python",
		warm: []build{{graph: "walk-base"}, {graph: "walk-other"}}, build: build{graph: "walk-diff-unrelated"}},
	{id: "local", name: "COPY --link of 2,000 files and RUN", base: "debian-python", warm: []build{onBase("true")},
		build: build{steps: "FROM base\nCOPY --link many /many/\nRUN true\n"},
		parts: []part{stepTook("merge", isMerge, -1), stepTook("RUN", isRun, -1)}},
	{id: "twenty", name: "the same, twenty times", base: "debian-python", warm: []build{onBase("true")}, build: build{steps: twenty()},
		parts: []part{stepTook("last merge", isMerge, -1), first, last, growth}},
	staged("stages", "COPY --from a stage, 50,000 files", "ext4"),
	staged("stages-xfs", "the same, on xfs", "xfs"),
}

// staged is the copy of many files from one stage to another.
func staged(id, name, disk string) benchCase {
	return benchCase{id: id, name: name, base: "debian-python", columns: ends, disk: disk,
		warm: []build{{steps: stages, target: "builder"}}, build: build{steps: stages, target: "final"},
		settles: true, parts: []part{stepTook("COPY", isCopy, -1)}}
}

// with finds the cases that have these ids, or all if there are none.
func with(ids []string) ([]benchCase, error) {
	if len(ids) == 0 {
		return cases, nil
	}
	var some []benchCase
	for _, id := range ids {
		i := slices.IndexFunc(cases, func(c benchCase) bool { return c.id == id })
		if i < 0 {
			return nil, fmt.Errorf("no build %q; there are %s", id, idList())
		}
		some = append(some, cases[i])
	}
	return some, nil
}

// twenty is twenty times a linked copy and a command that writes.
func twenty() string {
	steps := "FROM base\n"
	for i := range 20 {
		steps += fmt.Sprintf("COPY --link many /many%[1]d/\nRUN echo %[1]d >/made%[1]d\n", i)
	}
	return steps
}

// stages copies stagedBytes in 50,000 files from one stage to another.
const stages = `FROM base AS builder
RUN python3 -c "import os; [(os.makedirs(f'/out/{i//500}', exist_ok=True), open(f'/out/{i//500}/{i}', 'w').write((f'file {i} ' * 40960)[:40960])) for i in range(50000)]"
FROM base AS final
COPY --from=builder /out /out
`

const stagedBytes = 50_000 * 40_960
