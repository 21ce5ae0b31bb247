package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ladle-dev/ladle/buildkit/worker"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/report"
	"github.com/ladle-dev/ladle/test/stack"
)

// sample is one measurement of a build.
type sample struct {
	took  time.Duration
	parts map[string]time.Duration // see benchCase.of
	link.Counters
}

// sample builds c on a new worker.
func (b bench) sample(ctx context.Context, column string, c benchCase, round int) (_ sample, err error) {
	l, err := link.Listen(b.registry.Addr, b.profile)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	dir, err := os.MkdirTemp("/var/tmp", "ladle-bench-")
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, stop, err := b.start(ctx, column, dir, l)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	format := image.EStargz
	if column == "overlayfs" {
		format = image.Gzip
	}
	build := worker.Build{Dir: dir, Args: map[string]string{"BASE": l.Addr() + "/" + b.images[format]}}
	if c.warm != "" {
		if err := write(dir, c.warm); err != nil {
			return sample{}, err
		}
		if _, err := w.Build(ctx, build); err != nil {
			return sample{}, err
		}
	}
	if err := write(dir, c.steps); err != nil {
		return sample{}, err
	}
	if c.graph != "" {
		if build.Graph, err = b.graph(ctx, c.graph, l.Addr(), format); err != nil {
			return sample{}, err
		}
	}
	if c.push {
		build.Output = fmt.Sprintf("type=image,push=true,name=%s/pushed:%s-%d", l.Addr(), column, round)
	}
	l.Reset()
	began := time.Now()
	steps, err := w.Steps(ctx, build)
	s := sample{took: time.Since(began), Counters: l.Counters(), parts: map[string]time.Duration{}}
	for name, of := range c.of {
		s.parts[name] = of(steps)
	}
	return s, err
}

// start starts a worker of a column behind a link, and its snapshotter.
func (b bench) start(ctx context.Context, column, dir string, l *link.Link) (_ *worker.Worker, stop func() error, _ error) {
	o := worker.Options{Dir: filepath.Join(dir, "worker"), Registries: []string{l.Addr()}, Snapshotter: "overlayfs"}
	stopNode := func() error { return nil }
	if column != "overlayfs" {
		n, err := stack.StartNode(ctx, stack.NodeOptions{Registry: l.Addr(), Daemons: []stack.Daemon{daemon(column)}})
		if err != nil {
			return nil, nil, err
		}
		stopNode = n.Close
		o.Snapshotter, o.Proxy, o.Ladle = "stargz", n.Daemon(column).Address, column == ladleBuildkitd
	}
	w, err := worker.Start(ctx, o)
	if err != nil {
		return nil, nil, errors.Join(err, stopNode())
	}
	return w, func() error { return errors.Join(w.Close(), stopNode()) }, nil
}

// ladleBuildkitd is the column of ladle-buildkitd on ladle.
const ladleBuildkitd = "ladle-buildkitd"

// graph is the definition of a graph of the base and its lowest layer.
func (b bench) graph(ctx context.Context, name, registry string, f image.Format) ([]byte, error) {
	program, err := place.Component("graphs")
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, program, name, "base="+registry+"/"+b.images[f], "lowest="+registry+"/"+b.lowest[f]).Output()
}

func daemon(column string) stack.Daemon {
	if column == "stargz" {
		return stack.Stargz(column, "")
	}
	return stack.Ladle(column, "")
}

// write writes the context of a build.
func write(dir, steps string) error {
	many := filepath.Join(dir, "many")
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("ARG BASE\nFROM ${BASE} AS base\n"+steps), 0o644),
		os.WriteFile(filepath.Join(dir, "hello"), []byte("hello\n"), 0o644),
		os.MkdirAll(many, 0o755))
	for i := range 2000 {
		err = errors.Join(err, os.WriteFile(filepath.Join(many, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 4096), 0o644))
	}
	return err
}

// median is the sample of the middle of each figure on its own.
func median(samples []sample) sample {
	parts := map[string]time.Duration{}
	for name := range samples[0].parts {
		parts[name] = report.Median(samples, func(s sample) time.Duration { return s.parts[name] })
	}
	return sample{
		parts: parts,
		took:  report.Median(samples, func(s sample) time.Duration { return s.took }),
		Counters: link.Counters{
			Requests:  report.Median(samples, func(s sample) int64 { return s.Requests }),
			BytesUp:   report.Median(samples, func(s sample) int64 { return s.BytesUp }),
			BytesDown: report.Median(samples, func(s sample) int64 { return s.BytesDown }),
		},
	}
}
