package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// summarize runs the tests of a module made of files and returns what is said.
func summarize(t *testing.T, noskip string, files map[string]string) (string, bool) {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.test\n\ngo 1.26\n"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	s := &summary{out: &out}
	if noskip != "" {
		s.noskip = regexp.MustCompile(noskip)
	}
	runStep(s, moduleRuns([]string{dir}, nil)...)
	ok := s.finish()
	return out.String(), ok
}

func testFile(body string) map[string]string {
	return map[string]string{"x_test.go": "package x\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nvar _ = time.Now\n\n" + body}
}

func TestSummary(t *testing.T) {
	const pass = "func TestPass(t *testing.T) { t.Log(\"quiet\") }\n"
	const skipped = "func TestSkip(t *testing.T) { t.Skip(\"needs FUSE\") }\n"
	for title, test := range map[string]struct {
		noskip string
		body   string
		want   []string // in the output
		absent string   // from it
		ok     bool
	}{
		"pass":               {"", pass, []string{"ok  \texample.test", "\n1 passed, 0 failed, 0 skipped\n"}, "quiet", true},
		"skip":               {"", pass + skipped, []string{"TestSkip: ", "needs FUSE", "\n1 passed, 0 failed, 1 skipped\n"}, "MUST", true},
		"unwanted skip":      {"(?i)fuse", pass + skipped, []string{"MUST NOT", "\n1 passed, 1 failed, 1 skipped\n"}, "", false},
		"fail":               {"", pass + "func TestFail(t *testing.T) { t.Fatal(\"why\") }\n", []string{"why", "\n1 passed, 1 failed, 0 skipped\n"}, "", false},
		"panic":              {"", "func TestPanic(t *testing.T) { panic(\"why\") }\n", []string{"why", "1 failed"}, "", false},
		"slow, side by side": {"", "func TestSlow(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Parallel(); time.Sleep(50 * time.Millisecond) }) }\n", []string{"s  example.test TestSlow\n"}, "TestSlow/sub", true},
		"slow":               {"", pass + "func TestSlow(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { time.Sleep(50 * time.Millisecond) }) }\n", []string{"slowest:\n", "example.test TestSlow\n"}, "TestSlow/sub", true},
		"does not build":     {"", "func TestWrong(t *testing.T) { wrong }\n", []string{"undefined: wrong", "1 failed"}, "", false},
		"nothing ran":        {"", "", []string{"0 passed, "}, "", false},
	} {
		t.Run(title, func(t *testing.T) {
			out, ok := summarize(t, test.noskip, testFile(test.body))
			if ok != test.ok {
				t.Errorf("ok is %v", ok)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			if test.absent != "" && strings.Contains(out, test.absent) {
				t.Errorf("%q in:\n%s", test.absent, out)
			}
		})
	}
}

// Modules of one step run side by side: each waits for the other.
func TestStep(t *testing.T) {
	meeting := t.TempDir()
	var dirs []string
	for _, names := range [][2]string{{"one", "other"}, {"other", "one"}} {
		dir := t.TempDir()
		body := fmt.Sprintf(`package x

import (
	"os"
	"testing"
	"time"
)

func TestMeet(t *testing.T) {
	if err := os.WriteFile(%q, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 6000 {
		if _, err := os.Stat(%q); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("nobody came")
}
`, filepath.Join(meeting, names[0]), filepath.Join(meeting, names[1]))
		for name, text := range map[string]string{"go.mod": "module example.test/" + names[0] + "\n\ngo 1.26\n", "x_test.go": body} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, dir)
	}
	var out bytes.Buffer
	s := &summary{out: &out}
	runStep(s, moduleRuns(dirs, nil)...)
	if !s.finish() {
		t.Errorf("the modules did not meet:\n%s", out.String())
	}
	for _, want := range append(dirs, "modules:\n", "s, processors ", "2 passed, 0 failed, 0 skipped\n") {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// A race is found, explained, and told apart from the run without the detector. What
// -short leaves out is no skip.
func TestRaceRun(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc is not found")
	}
	dir := t.TempDir()
	body := `package x

import "testing"

func TestRace(t *testing.T) {
	n, done := 0, make(chan bool)
	go func() { n++; done <- true }()
	n++
	<-done
}

func TestLong(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long, and is left out by -short")
	}
}
`
	for name, text := range map[string]string{"go.mod": "module example.test\n\ngo 1.26\n", "x_test.go": body} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CGO_ENABLED", "0") // as in CI
	var out bytes.Buffer
	s := &summary{out: &out}
	runStep(s, raceRun(dir, nil, []string{"."}))
	if s.finish() {
		t.Error("all is well")
	}
	for _, want := range []string{
		"\nfailed:\n  example.test (race detector) TestRace\n      WARNING: DATA RACE\n", "x_test.go:8 ", dir + " (race detector)\n", "0 passed, 1 failed, 0 skipped\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestNoModule(t *testing.T) {
	var out bytes.Buffer
	s := &summary{out: &out}
	runStep(s, moduleRuns([]string{t.TempDir()}, nil)...)
	if s.finish() {
		t.Errorf("all is well without a module:\n%s", out.String())
	}
}
