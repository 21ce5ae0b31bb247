package main

import (
	"cmp"
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
	"github.com/ladle-dev/ladle/test/stack"
)

// benchCase is a build from the image BASE, whose context is a file "hello".
type benchCase struct {
	name  string
	steps string
	push  bool // the result; otherwise there is no output
}

var cases = []benchCase{
	{"COPY --from, one file", "FROM scratch\nCOPY --from=base /etc/passwd /\n", false},
	{"RUN python3", "FROM base\nRUN python3 -c 'print(1)'\n", false},
	{"COPY --link and RUN, twice", "FROM base\nCOPY --link hello /a/\nRUN cat /a/hello\nCOPY --link hello /b/\nRUN cat /b/hello\n", false},
	{"COPY --link and push", "FROM base\nCOPY --link hello /a/\n", true},
}

// sample is one measurement of a build.
type sample struct {
	took time.Duration
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
	if err := writeProject(dir, c); err != nil {
		return sample{}, err
	}
	o := worker.Options{Dir: filepath.Join(dir, "worker"), Registries: []string{l.Addr()}, Snapshotter: "overlayfs"}
	base := l.Addr() + "/" + b.images[image.Gzip]
	if column != "overlayfs" {
		base = l.Addr() + "/" + b.images[image.EStargz]
		n, err := stack.StartNode(ctx, stack.NodeOptions{Registry: l.Addr(), Daemons: []stack.Daemon{daemon(column)}})
		if err != nil {
			return sample{}, err
		}
		defer func() { err = errors.Join(err, n.Close()) }()
		o.Snapshotter, o.Proxy = "stargz", n.Daemon(column).Address
	}
	w, err := worker.Start(ctx, o)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	build := worker.Build{Dir: dir, Args: map[string]string{"BASE": base}}
	if c.push {
		build.Output = fmt.Sprintf("type=image,push=true,name=%s/pushed:%s-%d", l.Addr(), column, round)
	}
	l.Reset()
	began := time.Now()
	_, err = w.Build(ctx, build)
	return sample{time.Since(began), l.Counters()}, err
}

func daemon(column string) stack.Daemon {
	if column == "stargz" {
		return stack.Stargz(column, "")
	}
	return stack.Ladle(column, "")
}

func writeProject(dir string, c benchCase) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("ARG BASE\nFROM ${BASE} AS base\n"+c.steps), 0o644),
		os.WriteFile(filepath.Join(dir, "hello"), []byte("hello\n"), 0o644))
}

// median is the sample of the middle of each figure on its own.
func median(samples []sample) sample {
	return sample{
		took: middle(samples, func(s sample) time.Duration { return s.took }),
		Counters: link.Counters{
			Requests:  middle(samples, func(s sample) int64 { return s.Requests }),
			BytesUp:   middle(samples, func(s sample) int64 { return s.BytesUp }),
			BytesDown: middle(samples, func(s sample) int64 { return s.BytesDown }),
		},
	}
}

func middle[T cmp.Ordered](samples []sample, of func(sample) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
