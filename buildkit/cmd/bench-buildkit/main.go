// Command bench-buildkit measures builds on a worker that has never seen the
// base image: time, bytes in both directions, requests, and how far the disk
// grows.
//
//	bench-buildkit [-n 3] [-subjects overlayfs,stargz,ladle,ladle-buildkitd] [-steps copy,run,…] [-profile 20ms/200Mbit]
//
// Every sample starts with a new buildkitd (OCI worker), a new snapshotter, and
// empty state on a filesystem of its own. stargz and ladle build from the same
// eStargz image, overlayfs from the image's ordinary gzip form; ladle is with
// BuildKit's own daemon. The subjects are interleaved: one sample of each per
// round. The table shows medians, each figure on its own.
//
// B is the image of -image, A its lowest layer; P is Debian with python3, P' the
// same without its topmost layer, and W busybox and 100,000 files. "Read before"
// is by builds that are not measured.
//
//	bench-buildkit -n 1 -subjects ladle-buildkitd -steps merge   one sample, in seconds
//
// It needs root, what script/components.sh installs, bin/ladle, mkfs.ext4 and
// mkfs.xfs, and Go for BuildKit and the peer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ladle-dev/ladle/test/command"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/report"
	"github.com/ladle-dev/ladle/test/stack"
)

func main() { command.Main(run) }

type bench struct {
	rounds   int
	recipe   string // of B
	columns  []string
	cases    []benchCase
	profile  link.Profile
	registry *stack.Registry
	cache    *image.Cache
	pushed   map[picture]string // repository:tag
	progress *report.Progress
}

func run(ctx context.Context) (err error) {
	b, err := parse()
	if err != nil {
		return err
	}
	if err := b.buildPrograms(ctx); err != nil {
		return err
	}
	if b.cache, err = image.DefaultCache(); err != nil {
		return err
	}
	b.cache.Log = b.progress.Say
	if b.registry, err = stack.StartRegistry(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.registry.Close()) }()
	fmt.Printf("%s, %s, median of %d\n", b.recipe, b.profile, b.rounds)
	for _, c := range b.cases {
		if err := b.measure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// parse reads the flags.
func parse() (b bench, err error) {
	b = bench{progress: report.NewProgress(os.Stderr), pushed: map[picture]string{}}
	flag.IntVar(&b.rounds, "n", 3, "samples of each column")
	flag.StringVar(&b.recipe, "image", "debian-scipy", "recipe of the image B")
	subjects := flag.String("subjects", "overlayfs,stargz,ladle,"+ladleBuildkitd, "what to measure, comma-separated")
	steps := flag.String("steps", "", "which builds to measure, comma-separated; all if empty: "+idList())
	profile := flag.String("profile", "20ms/200Mbit", "link to the registry")
	flag.Parse()
	b.columns = strings.Split(*subjects, ",")
	if b.cases, err = with(strings.FieldsFunc(*steps, func(r rune) bool { return r == ',' })); err != nil {
		return b, err
	}
	b.profile, err = link.ParseProfile(*profile)
	return b, err
}

func idList() string {
	var ids []string
	for _, c := range cases {
		ids = append(ids, c.id)
	}
	return strings.Join(ids, ", ")
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

// measure takes the samples of one case and prints its table.
func (b bench) measure(ctx context.Context, c benchCase) error {
	if c.base == "" {
		c.base = b.recipe
	}
	columns := slices.DeleteFunc(slices.Clone(b.columns), func(column string) bool {
		return c.columns != nil && !slices.Contains(c.columns, column)
	})
	if len(columns) == 0 {
		return nil
	}
	samples := map[string][]sample{}
	for round := range b.rounds {
		for _, column := range columns {
			s, err := b.sample(ctx, column, c, round)
			if err != nil {
				return fmt.Errorf("%s on %s: %w", c.name, column, err)
			}
			samples[column] = append(samples[column], s)
			b.progress.Say("%s round %d of %d: %s %s, %s down", c.name, round+1, b.rounds, column,
				report.Seconds(s.took), report.Bytes(s.BytesDown))
		}
	}
	c.print(columns, samples)
	return nil
}

// print prints the table of a case.
func (c benchCase) print(columns []string, samples map[string][]sample) {
	reference := columns[len(columns)-1]
	last := median(samples[reference])
	heading := []string{c.name, "seconds", "down", "up", "requests", "disk", "time / " + reference}
	if c.settles {
		heading = append(heading, "disk, settled")
	}
	for _, p := range c.parts {
		heading = append(heading, p.name)
	}
	var t report.Table
	t.Row(heading...)
	for _, column := range columns {
		m := median(samples[column])
		row := []string{"  " + column, report.Seconds(m.took), report.Bytes(m.BytesDown), report.Bytes(m.BytesUp), fmt.Sprint(m.Requests),
			report.Bytes(m.grown), report.Ratio(m.took.Seconds(), last.took.Seconds())}
		if c.settles {
			row = append(row, report.Bytes(m.settled))
		}
		for i, p := range c.parts {
			row = append(row, p.show(m.parts[i]))
		}
		t.Row(row...)
	}
	fmt.Println()
	t.Print(os.Stdout)
}
