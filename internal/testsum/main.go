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
)

func main() {
	noskip := flag.String("noskip", "", "a skip whose reason matches this `REGEXP` is a failure")
	flag.Parse()
	dirs, flags := flag.Args(), []string(nil)
	if i := slices.Index(dirs, "--"); i >= 0 {
		dirs, flags = dirs[:i], dirs[i+1:]
	}
	s := &summary{out: os.Stdout}
	if *noskip != "" {
		s.noskip = regexp.MustCompile(*noskip)
	}
	for _, dir := range dirs {
		runModule(s, dir, flags)
	}
	if !s.finish() {
		os.Exit(1)
	}
}

// runModule runs the tests of the module in dir.
func runModule(s *summary, dir string, flags []string) {
	args := slices.Concat([]string{"test", "-json", "-count=1"}, flags, []string{"./..."})
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.broken(dir, err)
		return
	}
	if err := cmd.Start(); err != nil {
		s.broken(dir, err)
		return
	}
	failed := s.failed
	reading := readEvents(stdout, s)
	err = errors.Join(cmd.Wait(), reading)
	if err != nil && s.failed == failed {
		s.broken(dir, err)
	}
}

func readEvents(r io.Reader, s *summary) error {
	for d := json.NewDecoder(r); ; {
		var e event
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("output of go test: %w", err)
		}
		s.add(e)
	}
}
