package warm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/ladle-dev/ladle/test/report"
)

// Times are what a probe measured in one root filesystem, by the name of the
// state, in seconds.
type Times map[string]float64

// The states.
const (
	allCold   = "everything cold"
	namesCold = "names cold"
	warmed    = "warm"
)

// What is warm is measured several times, for the median: at least so often,
// and for at least so many seconds.
const (
	warmPasses  = 3
	warmSeconds = 0.5
)

// probes are what a child process can measure, by name. The arguments are one
// path for each subject and a number, which only touch uses; the result is the
// times of each path.
var probes = map[string]func(paths []string, n int) ([]Times, error){
	"walk":   walk,
	"rewalk": rewalk,
	"opens":  opens,
	"stream": stream,
	"touch":  touch,
}

// Probe is the main function of a child process, with the arguments NAME
// NUMBER PATH... It prints the Times of each path as JSON.
func Probe(args []string) error {
	if len(args) < 3 || probes[args[0]] == nil {
		return fmt.Errorf("warm: no probe %q", args)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("warm: %w", err)
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	times, err := probes[args[0]](args[2:], n)
	if err != nil {
		return fmt.Errorf("warm: %s: %w", args[0], err)
	}
	return json.NewEncoder(os.Stdout).Encode(times)
}

// runProbe runs a probe in a child process, which is argv with the arguments
// of Probe.
func runProbe(ctx context.Context, argv []string, name string, n int, paths []string) ([]Times, error) {
	argv = append(slices.Clone(argv), name, strconv.Itoa(n))
	argv = append(argv, paths...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("warm: probe %s: %w", name, err)
	}
	var times []Times
	if err := json.Unmarshal(out, &times); err != nil {
		return nil, fmt.Errorf("warm: probe %s: %w", name, err)
	}
	return times, nil
}

// pass does once, in the i-th path, what is measured.
type pass func(i int) error

func (p pass) timed(i int) (float64, error) {
	began := time.Now()
	err := p(i)
	return time.Since(began).Seconds(), err
}

// cold measures p in n paths, each time after what is dropped.
func (p pass) cold(n int, what string) ([]float64, error) {
	times := make([]float64, n)
	for i := range n {
		if err := loadFind(); err != nil {
			return nil, err
		}
		if err := dropCaches(what); err != nil {
			return nil, err
		}
		if err := loadFind(); err != nil {
			return nil, err
		}
		var err error
		if times[i], err = p.timed(i); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// warm measures p in n paths, one after the other again and again, so that what
// else the machine does hits all of them.
func (p pass) warm(n int) ([]float64, error) {
	passes := make([][]float64, n)
	for i := range n {
		if err := p(i); err != nil { // not counted: makes it warm
			return nil, err
		}
	}
	for began := time.Now(); len(passes[0]) < warmPasses || time.Since(began).Seconds() < warmSeconds*float64(n); {
		for i := range n {
			t, err := p.timed(i)
			if err != nil {
				return nil, err
			}
			passes[i] = append(passes[i], t)
		}
	}
	times := make([]float64, n)
	for i := range n {
		times[i] = median(passes[i])
	}
	return times, nil
}

// coldThenWarm measures p with everything cold and warm. size is what the i-th
// time is divided by.
func (p pass) coldThenWarm(n int, size func(i int) int) ([]Times, error) {
	cold, err := p.cold(n, dropAll)
	if err != nil {
		return nil, err
	}
	warm, err := p.warm(n)
	if err != nil {
		return nil, err
	}
	times := make([]Times, n)
	for i := range n {
		times[i] = Times{allCold: cold[i] / float64(size(i)), warmed: warm[i] / float64(size(i))}
	}
	return times, nil
}

func median(values []float64) float64 {
	return report.Median(values, func(v float64) float64 { return v })
}
