package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is one of the events that go test -json prints (go doc test2json), or the
// end of a module.
type event struct {
	Time       time.Time
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Output     string
	Elapsed    float64 // seconds
	// FailedBuild is the ImportPath of the build that failed, of the end of a package.
	FailedBuild string

	// Of the end of a module: its directory, and the processor time of its tests and of
	// the processes that they waited for.
	Module    string        `json:"-"`
	Processor time.Duration `json:"-"`
}

// moduleEnded is the action of the event that ends a module. Its output is why the
// tests could not be run.
const moduleEnded = "module ended"

// leftOut is in the reason of a test that -short skips, which is no skip: whoever sets
// the flag asks for that.
const leftOut = "left out by -short"

// name is a test, or a package if test is empty.
type name struct{ pkg, test string }

// summary is what became of the tests so far.
type summary struct {
	out    io.Writer
	noskip *regexp.Regexp

	passed, failed int
	skips          []skip
	failures       failures
	slowest        slowest
	modules        []event           // the ends of modules
	failedIn       map[string]bool   // by package
	output         map[name][]string // of what has not ended
}

type skip struct {
	name
	reason string
}

// add takes the next event.
func (s *summary) add(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "run", "pause", "cont":
		s.slowest.clock(n, e)
	case "output":
		s.keep(n, e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
		s.keep(name{pkg: e.ImportPath}, e.Output)
	case "pass", "fail", "skip":
		s.end(n, e)
	case moduleEnded:
		s.endModule(e)
	}
}

func (s *summary) keep(n name, line string) {
	if s.output == nil {
		s.output = map[name][]string{}
	}
	s.output[n] = append(s.output[n], line)
}

// end takes the end of a test or package.
func (s *summary) end(n name, e event) {
	lines := s.output[n]
	delete(s.output, n)
	if n.test != "" {
		s.slowest.add(n, e)
	}
	switch {
	case n.test == "":
		s.endPackage(n, e, lines)
	case e.Action == "pass":
		s.passed++
	case e.Action == "skip":
		if why := reason(lines); !strings.Contains(why, leftOut) {
			s.skips = append(s.skips, skip{n, why})
		}
	default:
		s.fail(n, lines)
		fmt.Fprint(s.out, strings.Join(lines, ""))
	}
}

// fail counts a failed test or package with its output.
func (s *summary) fail(n name, output []string) {
	if s.failedIn == nil {
		s.failedIn = map[string]bool{}
	}
	s.failedIn[n.pkg] = true
	s.failed++
	s.failures.add(n, output)
}

func (s *summary) endPackage(n name, e event, lines []string) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(s.out, "ok  \t%s\t%.1fs\n", n.pkg, e.Elapsed)
	case "skip":
		fmt.Fprintf(s.out, "?   \t%s\t[no test files]\n", n.pkg)
	default:
		// No test of it has failed if it does not build, or if one of
		// them panicked: then the output of that one says why.
		rest := s.unfinished(n.pkg)
		if len(rest) > 0 || !s.failedIn[n.pkg] {
			s.fail(n, slices.Concat(s.output[name{pkg: e.FailedBuild}], rest, lines))
		}
		fmt.Fprint(s.out, strings.Join(lines, ""))
	}
}

// unfinished prints, forgets and returns what tests of pkg said that never ended.
func (s *summary) unfinished(pkg string) (all []string) {
	for n, lines := range s.output {
		if n.pkg == pkg {
			all = append(all, lines...)
			fmt.Fprint(s.out, strings.Join(lines, ""))
			delete(s.output, n)
		}
	}
	return all
}

// endModule takes the end of a module. One whose tests could not be run has failed.
func (s *summary) endModule(e event) {
	s.modules = append(s.modules, e)
	if e.Output != "" {
		s.failed++
		fmt.Fprintf(s.out, "FAIL\t%s\t%v\n", e.Module, e.Output)
	}
}

// reason is what a skipped test said, in one line.
func reason(lines []string) string {
	var said []string
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "=== ") && !strings.HasPrefix(l, "--- ") {
			said = append(said, l)
		}
	}
	return strings.Join(said, "; ")
}

// finish prints the end of the summary and reports whether all is well.
func (s *summary) finish() bool {
	fmt.Fprintln(s.out, "\nmodules:")
	for _, m := range s.modules {
		fmt.Fprintf(s.out, "  %7.1fs, processors %7.1fs  %s\n", m.Elapsed, m.Processor.Seconds(), m.Module)
	}
	s.failures.print(s.out)
	s.slowest.print(s.out)
	unwanted := 0
	if len(s.skips) > 0 {
		fmt.Fprintln(s.out, "\nskipped:")
	}
	for _, k := range s.skips {
		mark := ""
		if s.noskip != nil && s.noskip.MatchString(k.reason) {
			unwanted++
			mark = "MUST NOT BE SKIPPED HERE: "
		}
		fmt.Fprintf(s.out, "  %s%s %s: %s\n", mark, k.pkg, k.test, k.reason)
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed+unwanted, len(s.skips))
	return s.failed+unwanted == 0 && s.passed > 0
}
