package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	noskip := flag.String("noskip", "", "a skip whose reason matches this `REGEXP` is a failure")
	race := flag.String("race", "", "before all, run the short tests of these `PACKAGES` of the first module with the race detector")
	flag.Parse()
	steps, flags := flag.Args(), []string(nil)
	if i := slices.Index(steps, "--"); i >= 0 {
		steps, flags = steps[:i], steps[i+1:]
	}
	s := &summary{out: os.Stdout}
	if *noskip != "" {
		s.noskip = regexp.MustCompile(*noskip)
	}
	if *race != "" {
		dir, _, _ := strings.Cut(steps[0], "+")
		runStep(s, raceRun(dir, flags, strings.Fields(*race)))
	}
	for _, step := range steps {
		runStep(s, moduleRuns(strings.Split(step, "+"), flags)...)
	}
	if !s.finish() {
		os.Exit(1)
	}
}

// run is one run of go test.
type run struct {
	dir  string   // of the module
	args []string // of go test
	mark string   // added to the names of the module and of its packages
}

// moduleRuns are the runs of all tests of the modules in dirs.
func moduleRuns(dirs, flags []string) (all []run) {
	for _, dir := range dirs {
		all = append(all, run{dir: dir, args: slices.Concat(flags, []string{"./..."})})
	}
	return all
}

// raceRun is the run of the short tests of some packages with the race detector, of as many
// packages side by side as there are processors, whatever flags say: these tests pass on a busy
// machine, and one package takes longer than all others.
func raceRun(dir string, flags, packages []string) run {
	side := fmt.Sprintf("-p=%d", runtime.GOMAXPROCS(0))
	return run{dir: dir, args: slices.Concat(flags, []string{side, "-race", "-short"}, packages), mark: " (race detector)"}
}

// runStep does runs side by side.
func runStep(s *summary, runs ...run) {
	events := make(chan event)
	var running sync.WaitGroup
	for _, r := range runs {
		running.Go(func() { r.tests(func(e event) { events <- e }) })
	}
	go func() {
		running.Wait()
		close(events)
	}()
	for e := range events {
		s.add(e)
	}
}

// tests runs the tests. What it adds last is how the run ended.
func (r run) tests(add func(event)) {
	began := time.Now()
	failed := false
	processor, err := r.goTest(func(e event) {
		failed = failed || e.Action == "fail"
		if e.Package != "" {
			e.Package += r.mark
		}
		add(e)
	})
	end := event{Action: moduleEnded, Module: r.dir + r.mark, Elapsed: time.Since(began).Seconds(), Processor: processor}
	if err != nil && !failed {
		end.Output = err.Error()
	}
	add(end)
}

// goTest runs go test, and returns how much processor time it took.
func (r run) goTest(add func(event)) (time.Duration, error) {
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json", "-count=1"}, r.args)...)
	cmd.Dir = r.dir
	if slices.Contains(r.args, "-race") {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // the detector needs C
	}
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err = readEvents(stdout, add)
	err = errors.Join(cmd.Wait(), err)
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
}

func readEvents(r io.Reader, add func(event)) error {
	for d := json.NewDecoder(r); ; {
		var e event
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("output of go test: %w", err)
		}
		add(e)
	}
}
