package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// failures are the tests and packages that failed, with the lines that say why.
type failures struct {
	all []failure
}

type failure struct {
	name
	why []string
}

const (
	shownLines   = 10  // of one test
	shownOfAll   = 60  // of all tests, but for two lines each
	shownOfLine  = 500 // bytes
	shownOfCrash = 7   // lines: both accesses of a race
)

var (
	// message begins what a test says by t.Error, t.Fatal and t.Log: test2json leaves
	// these apart from the other output by the indentation alone.
	message = regexp.MustCompile(`^ +[\w.-]+\.go:\d+: `)
	// logged begins the log of a daemon in a message (process.LogTail of the test beds),
	// and the line that ends the output of a subtest.
	logged = regexp.MustCompile(`^--- (FAIL: |.+ \(/)`)
	// crash begins what the runtime says, the race detector, and go build.
	crash = regexp.MustCompile(`^(panic: |fatal error: |WARNING: DATA RACE|# )`)
	// frame is a function in which nobody looks for the cause of a crash.
	frame = regexp.MustCompile(`^(panic|runtime\.\S*|testing\.\S*)\(`)
)

// add takes the output of a test or package that failed; that of a package is also what
// its tests said that did not end. One that says nothing is left out if a subtest failed.
func (f *failures) add(n name, output []string) {
	why := reasons(output)
	subtestFailed := slices.ContainsFunc(f.all, func(of failure) bool {
		return of.pkg == n.pkg && (n.test == "" || strings.HasPrefix(of.test, n.test+"/"))
	})
	if len(why) > 0 || !subtestFailed {
		f.all = append(f.all, failure{n, why})
	}
}

// reasons are the lines of a failed test's output that say why it failed: of each
// message the first line and the last one, which holds what a program said that the
// test ran; of a panic, a race and a build the beginning. Logs of daemons are left out.
func reasons(output []string) (lines []string) {
	rest := strings.Split(strings.Join(output, ""), "\n")
	for len(rest) > 0 {
		line := rest[0]
		rest = rest[1:]
		begin := message.FindString(line)
		switch {
		case crash.MatchString(line):
			lines = append(append(lines, line), crashed(rest)...)
		case begin != "" && !logged.MatchString(line[len(begin):]):
			lines = append(lines, strings.TrimSpace(line))
			if last := lastOfMessage(rest); last != "" {
				lines = append(lines, "    "+last)
			}
		}
	}
	return lines
}

// crashed is the beginning of what follows the first line of a crash, without the
// functions of the runtime and of package testing.
func crashed(lines []string) (begin []string) {
	for i := 0; i < len(lines) && len(begin) < shownOfCrash-1; i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case line == "":
		case frame.MatchString(line):
			i++ // the next line is its place
		default:
			begin = append(begin, lines[i])
		}
	}
	return begin
}

// lastOfMessage is the last line of a message that goes on in lines, up to a daemon's
// log; "" if it does not go on. The testing package indents these lines by eight spaces.
func lastOfMessage(lines []string) (last string) {
	for _, l := range lines {
		l, more := strings.CutPrefix(l, "        ")
		if !more || logged.MatchString(l) {
			break
		}
		if l = strings.TrimSpace(l); l != "" {
			last = l
		}
	}
	return last
}

// print prints each failed test, and why it failed. With many of them each has fewer
// lines, so that the end of a log has all. Where a test has too many, the first ones and
// the last ones are left: t.Log cannot be told apart from t.Fatal.
func (f *failures) print(out io.Writer) {
	if len(f.all) == 0 {
		return
	}
	most := min(max(shownOfAll/len(f.all), 2), shownLines)
	fmt.Fprintln(out, "\nfailed:")
	for _, of := range f.all {
		fmt.Fprintf(out, "  %s %s\n", of.pkg, of.test)
		for i, line := range of.why {
			if i < most/2 || i >= len(of.why)-(most+1)/2 {
				fmt.Fprintf(out, "      %s\n", cut(line))
			}
		}
	}
}

// cut is the beginning of a line.
func cut(line string) string {
	if len(line) <= shownOfLine {
		return line
	}
	return strings.ToValidUTF8(line[:shownOfLine], "") + "…"
}
