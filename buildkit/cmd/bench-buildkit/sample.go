package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/report"
	"github.com/ladle-dev/ladle/test/stack"
)

// sample is one measurement of a build.
type sample struct {
	took    time.Duration
	parts   []float64 // as in benchCase.parts
	grown   int64     // bytes, by the end of the build
	settled int64     // bytes that it has grown by later, if the case settles
	link.Counters
}

// site is a new worker for one sample.
type site struct {
	bench
	c      benchCase
	column string
	format image.Format
	link   *link.Link
	disk   *disk
	worker *worker.Worker
}

// sample builds c on a new worker.
func (b bench) sample(ctx context.Context, column string, c benchCase, round int) (_ sample, err error) {
	w := site{bench: b, c: c, column: column, format: image.EStargz}
	if column == "overlayfs" {
		w.format = image.Gzip
	}
	if w.link, err = link.Listen(b.registry.Addr, b.profile); err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, w.link.Close()) }()
	if w.disk, err = newDisk(ctx, c.filesystem()); err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, w.disk.remove(context.WithoutCancel(ctx))) }()
	stop, err := w.start(ctx)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, warm := range c.warm {
		call, err := w.call(ctx, warm)
		if err == nil {
			_, err = w.worker.Build(ctx, call)
		}
		if err != nil {
			return sample{}, err
		}
	}
	call, err := w.call(ctx, c.build)
	if err != nil {
		return sample{}, err
	}
	if c.push {
		call.Output = fmt.Sprintf("type=image,push=true,name=%s/pushed:%s-%d", w.link.Addr(), column, round)
	}
	return w.measure(ctx, call)
}

func (w site) measure(ctx context.Context, call worker.Build) (sample, error) {
	before, err := w.disk.used(ctx)
	if err != nil {
		return sample{}, err
	}
	w.link.Reset()
	began := time.Now()
	steps, err := w.worker.Steps(ctx, call)
	if err != nil {
		return sample{}, err
	}
	s := sample{took: time.Since(began), Counters: w.link.Counters()}
	for _, p := range w.c.parts {
		s.parts = append(s.parts, p.of(steps))
	}
	after, err := w.disk.used(ctx)
	s.grown, s.settled = after-before, after-before
	if err == nil && w.c.settles && w.column != "overlayfs" {
		s.settled, err = w.settle(ctx, before)
	}
	return s, err
}

// settle waits until nearly all of what stages copy is stored once, for four
// minutes at most. Nothing is while BuildKit has views of it, which it gives
// back when it collects garbage; that is switched off here.
func (w site) settle(ctx context.Context, before int64) (grown int64, err error) {
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(5 * time.Second) {
		if _, err := w.worker.Buildctl(ctx, "prune", "--keep-duration", "24h"); err != nil {
			return 0, err
		}
		used, err := w.disk.used(ctx)
		if grown = used - before; err != nil || grown <= stagedBytes*3/100 || time.Now().After(deadline) {
			return grown, err
		}
	}
}

// call is the call of buildctl for a build, with its context written.
func (w site) call(ctx context.Context, b build) (worker.Build, error) {
	base, err := w.ref(ctx, picture{recipe: w.c.base, format: w.format})
	if err != nil {
		return worker.Build{}, err
	}
	// The context is not on the disk that is measured.
	dir := filepath.Join(w.disk.dir, "context")
	if err := write(dir, b.steps); err != nil {
		return worker.Build{}, err
	}
	call := worker.Build{Dir: dir, Args: map[string]string{"BASE": w.link.Addr() + "/" + base}}
	if b.target != "" {
		call.Flags = []string{"--opt", "target=" + b.target}
	}
	if b.graph != "" {
		call.Graph, err = w.graph(ctx, b.graph, w.c.base, w.link.Addr(), w.format)
	}
	return call, err
}

// start starts the worker behind the link, and its snapshotter.
func (w *site) start(ctx context.Context) (stop func() error, err error) {
	o := worker.Options{Dir: filepath.Join(w.disk.root(), "worker"), Registries: []string{w.link.Addr()}, Snapshotter: "overlayfs"}
	stopNode := func() error { return nil }
	if w.column != "overlayfs" {
		d := w.daemon()
		d.After = append(slices.Clone(d.After), "--root", filepath.Join(w.disk.root(), "snapshotter")) // the last one counts
		n, err := stack.StartNode(ctx, stack.NodeOptions{Registry: w.link.Addr(), Daemons: []stack.Daemon{d}})
		if err != nil {
			return nil, err
		}
		stopNode = n.Close
		o.Snapshotter, o.Proxy, o.Ladle = "stargz", n.Daemon(w.column).Address, w.column == ladleBuildkitd
		if o.Ladle {
			o.Snapshotter = "ladle" // as documented; any will do
		}
	}
	if w.worker, err = worker.Start(ctx, o); err != nil {
		return nil, errors.Join(err, stopNode())
	}
	return func() error { return errors.Join(w.worker.Close(), stopNode()) }, nil
}

// ladleBuildkitd is the column of ladle-buildkitd on ladle.
const ladleBuildkitd = "ladle-buildkitd"

func (w site) daemon() stack.Daemon {
	switch {
	case w.column == "stargz":
		return stack.Stargz(w.column, "")
	case w.c.settles:
		// What else makes the disk grow would hide it.
		return stack.Ladle(w.column, "no_background_fetch = true\n")
	}
	return stack.Ladle(w.column, "")
}

func (c benchCase) filesystem() string {
	if c.disk == "" {
		return "ext4"
	}
	return c.disk
}

// write writes the context of a build.
func write(dir, steps string) error {
	many := filepath.Join(dir, "many")
	err := errors.Join(
		os.MkdirAll(many, 0o755),
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("ARG BASE\nFROM ${BASE} AS base\n"+steps), 0o644),
		os.WriteFile(filepath.Join(dir, "hello"), []byte("hello\n"), 0o644))
	for i := range 2000 {
		err = errors.Join(err, os.WriteFile(filepath.Join(many, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 4096), 0o644))
	}
	return err
}

// median is the sample of the middle of each figure on its own.
func median(samples []sample) sample {
	var parts []float64
	for i := range samples[0].parts {
		parts = append(parts, report.Median(samples, func(s sample) float64 { return s.parts[i] }))
	}
	return sample{
		parts:   parts,
		took:    report.Median(samples, func(s sample) time.Duration { return s.took }),
		grown:   report.Median(samples, func(s sample) int64 { return s.grown }),
		settled: report.Median(samples, func(s sample) int64 { return s.settled }),
		Counters: link.Counters{
			Requests:  report.Median(samples, func(s sample) int64 { return s.Requests }),
			BytesUp:   report.Median(samples, func(s sample) int64 { return s.BytesUp }),
			BytesDown: report.Median(samples, func(s sample) int64 { return s.BytesDown }),
		},
	}
}
