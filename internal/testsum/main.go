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
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	noskip := flag.String("noskip", "", "a skip whose reason matches this `REGEXP` is a failure")
	flag.Parse()
	steps, flags := flag.Args(), []string(nil)
	if i := slices.Index(steps, "--"); i >= 0 {
		steps, flags = steps[:i], steps[i+1:]
	}
	s := &summary{out: os.Stdout}
	if *noskip != "" {
		s.noskip = regexp.MustCompile(*noskip)
	}
	for _, step := range steps {
		runStep(s, strings.Split(step, "+"), flags)
	}
	if !s.finish() {
		os.Exit(1)
	}
}

// runStep runs the tests of the modules in dirs, side by side.
func runStep(s *summary, dirs, flags []string) {
	events := make(chan event)
	var running sync.WaitGroup
	for _, dir := range dirs {
		running.Go(func() { runModule(dir, flags, func(e event) { events <- e }) })
	}
	go func() {
		running.Wait()
		close(events)
	}()
	for e := range events {
		s.add(e)
	}
}

// runModule runs the tests of the module in dir. What it adds last is how it ended.
func runModule(dir string, flags []string, add func(event)) {
	began := time.Now()
	failed := false
	err := runGo(dir, flags, func(e event) {
		failed = failed || e.Action == "fail"
		add(e)
	})
	end := event{Action: moduleEnded, Module: dir, Elapsed: time.Since(began).Seconds()}
	if err != nil && !failed {
		end.Output = err.Error()
	}
	add(end)
}

func runGo(dir string, flags []string, add func(event)) error {
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json", "-count=1"}, flags, []string{"./..."})...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	reading := readEvents(stdout, add)
	return errors.Join(cmd.Wait(), reading)
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
