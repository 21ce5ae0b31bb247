// Command bench-buildkit measures builds on a worker that has never seen the
// base image: time, bytes in both directions, and requests.
//
//	bench-buildkit [-n 3] [-subjects overlayfs,stargz,ladle,ladle-buildkitd] [-steps copy,run,…] [-profile 20ms/200Mbit]
//
// Every sample starts with a new buildkitd (OCI worker), a new snapshotter and
// empty state. stargz and ladle build from the same eStargz image, overlayfs
// from the image's ordinary gzip form; ladle is with BuildKit's own daemon.
// The subjects are interleaved: one sample of each per round. The table shows
// medians, each figure on its own. B is the image, A its lowest layer.
//
//	bench-buildkit -n 1 -subjects ladle-buildkitd -steps merge   one sample, in seconds
//
// It needs root, what script/components.sh installs, bin/ladle, and Go for
// BuildKit and the peer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ladle-dev/ladle/buildkit/registry"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/report"
	"github.com/ladle-dev/ladle/test/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type bench struct {
	rounds   int
	recipe   string
	columns  []string
	steps    []string // ids of cases; none for all
	profile  link.Profile
	registry *stack.Registry
	images   map[image.Format]string // repository:tag
	lowest   map[image.Format]string // of their lowest layers
	progress *report.Progress
}

func run(ctx context.Context) (err error) {
	b := bench{progress: report.NewProgress(os.Stderr), images: map[image.Format]string{},
		lowest: map[image.Format]string{}}
	flag.IntVar(&b.rounds, "n", 3, "samples of each column")
	flag.StringVar(&b.recipe, "image", "debian-scipy", "recipe of the base image")
	subjects := flag.String("subjects", "overlayfs,stargz,ladle,"+ladleBuildkitd, "what to measure, comma-separated")
	steps := flag.String("steps", "", "which builds to measure, comma-separated: copy, run, link, push, merge, diff, local, twenty")
	profile := flag.String("profile", "20ms/200Mbit", "link to the registry")
	flag.Parse()
	b.columns = strings.Split(*subjects, ",")
	if *steps != "" {
		b.steps = strings.Split(*steps, ",")
	}
	if b.profile, err = link.ParseProfile(*profile); err != nil {
		return err
	}
	if err := b.buildPrograms(ctx); err != nil {
		return err
	}
	if b.registry, err = stack.StartRegistry(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.registry.Close()) }()
	if err := b.push(ctx); err != nil {
		return err
	}
	fmt.Printf("%s, %s, median of %d\n", b.recipe, b.profile, b.rounds)
	for _, c := range cases {
		if b.steps != nil && !slices.Contains(b.steps, c.id) {
			continue
		}
		if err := b.measure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (b bench) buildPrograms(ctx context.Context) error {
	root, err := place.Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "script", "buildkit.sh"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("script/buildkit.sh: %w", err)
	}
	if !slices.Contains(b.columns, "stargz") {
		return nil
	}
	b.progress.Say("building the peer")
	return stack.BuildStargz(ctx)
}

// push makes the images and puts them in the registry.
func (b bench) push(ctx context.Context) error {
	cache, err := image.DefaultCache()
	if err != nil {
		return err
	}
	cache.Log = b.progress.Say
	for _, format := range []image.Format{image.Gzip, image.EStargz} {
		img, err := cache.Image(ctx, b.recipe, format)
		if err != nil {
			return err
		}
		if b.images[format], err = b.registry.Push(ctx, img); err != nil {
			return err
		}
		if b.lowest[format], err = registry.PushLowest(ctx, b.registry.Addr, b.images[format], 1); err != nil {
			return err
		}
	}
	return nil
}

// measure takes the samples of one case and prints its table.
func (b bench) measure(ctx context.Context, c benchCase) error {
	samples := map[string][]sample{}
	for round := range b.rounds {
		for _, column := range b.columns {
			s, err := b.sample(ctx, column, c, round)
			if err != nil {
				return fmt.Errorf("%s on %s: %w", c.name, column, err)
			}
			samples[column] = append(samples[column], s)
			b.progress.Say("%s round %d of %d: %s %s, %s down", c.name, round+1, b.rounds, column,
				report.Seconds(s.took), report.Bytes(s.BytesDown))
		}
	}
	last := median(samples[b.columns[len(b.columns)-1]])
	var t report.Table
	parts := slices.Sorted(maps.Keys(c.of))
	t.Row(append([]string{c.name, "seconds", "down", "up", "requests", "time / " + b.columns[len(b.columns)-1]}, parts...)...)
	for _, column := range b.columns {
		m := median(samples[column])
		row := []string{"  " + column, report.Seconds(m.took), report.Bytes(m.BytesDown), report.Bytes(m.BytesUp), fmt.Sprint(m.Requests),
			report.Ratio(m.took.Seconds(), last.took.Seconds())}
		for _, part := range parts {
			row = append(row, fmt.Sprintf("%.3f s", m.parts[part].Seconds()))
		}
		t.Row(row...)
	}
	fmt.Println()
	t.Print(os.Stdout)
	return nil
}
