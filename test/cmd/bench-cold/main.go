// Command bench-cold measures cold starts over simulated links: the time until
// python has imported numpy and scipy, with the bytes and requests until then.
//
//	bench-cold [-n 5] [-columns overlayfs,stargz,ladle] [-profiles 5ms/1Gbit,20ms/200Mbit,50ms/100Mbit]
//
// The columns are interleaved: one sample of each per round. Every sample starts
// with a new containerd, a new snapshotter and empty state. stargz and ladle pull
// the same eStargz image, made without prioritized files; overlayfs pulls the
// image's ordinary gzip form. The table shows medians, each figure on its own,
// and the range of the times. Requests are counted at the link until ready.
//
// It needs root, what script/components.sh installs, bin/ladle, and Go for the
// peer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/ladle-dev/ladle/test/cold"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
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
	format   image.Format
	columns  []string
	profiles []link.Profile
	command  []string
	progress *report.Progress
}

func run(ctx context.Context) error {
	b := bench{progress: report.NewProgress(os.Stderr)}
	flag.IntVar(&b.rounds, "n", 5, "samples of each column on each link")
	flag.StringVar(&b.recipe, "image", "debian-scipy", "recipe of the image")
	format := flag.String("format", string(image.EStargz), "format that stargz and ladle pull")
	command := flag.String("command", "import numpy, scipy.linalg; print('ready', flush=True)", "python program")
	columns := flag.String("columns", "overlayfs,stargz,ladle", "what to measure, comma-separated")
	profiles := flag.String("profiles", "5ms/1Gbit,20ms/200Mbit,50ms/100Mbit", "links, comma-separated")
	flag.Parse()
	b.format, b.columns = image.Format(*format), strings.Split(*columns, ",")
	b.command = []string{"python3", "-c", *command}
	for _, s := range strings.Split(*profiles, ",") {
		p, err := link.ParseProfile(s)
		if err != nil {
			return err
		}
		b.profiles = append(b.profiles, p)
	}
	return b.run(ctx)
}

func (b bench) run(ctx context.Context) (err error) {
	if slices.Contains(b.columns, "stargz") {
		b.progress.Say("building the peer")
		if err := stack.BuildStargz(ctx); err != nil {
			return err
		}
	}
	cache, err := image.DefaultCache()
	if err != nil {
		return err
	}
	cache.Log = b.progress.Say
	registry, err := stack.StartRegistry(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	names := map[image.Format]string{}
	for _, f := range []image.Format{image.Gzip, b.format} {
		img, err := cache.Image(ctx, b.recipe, f)
		if err != nil {
			return err
		}
		if names[f], err = registry.Push(ctx, img); err != nil {
			return err
		}
	}
	starts := make([]cold.Start, len(b.columns))
	for i, column := range b.columns {
		if starts[i], err = b.start(column, names); err != nil {
			return err
		}
	}
	fmt.Printf("%s, %s, median of %d (range): python3 -c %q\n", b.recipe, b.format, b.rounds, b.command[2])
	for _, p := range b.profiles {
		samples, err := b.measure(ctx, registry, p, starts)
		if err != nil {
			return err
		}
		b.print(p, samples)
	}
	return nil
}

func (b bench) start(column string, names map[image.Format]string) (cold.Start, error) {
	s := cold.Start{Snapshotter: column, Image: names[b.format], Args: b.command}
	switch column {
	case "overlayfs":
		s.Image = names[image.Gzip]
	case "stargz":
		s.Daemons = []stack.Daemon{stack.Stargz(column, "")}
	case "ladle":
		s.Daemons = []stack.Daemon{stack.Ladle(column, "")}
	default:
		return s, fmt.Errorf("bench-cold: no column %q", column)
	}
	return s, nil
}

// measure takes the samples of one link, by column.
func (b bench) measure(ctx context.Context, r *stack.Registry, p link.Profile, starts []cold.Start) ([][]cold.Sample, error) {
	samples := make([][]cold.Sample, len(starts))
	for round := range b.rounds {
		for i, s := range starts {
			sample, err := cold.Measure(ctx, r.Addr, p, s)
			if err != nil {
				return nil, fmt.Errorf("%s at %s: %w", s.Snapshotter, p, err)
			}
			samples[i] = append(samples[i], sample)
			b.progress.Say("%s round %d of %d: %s ready after %s, %s in %d requests", p, round+1, b.rounds, s.Snapshotter,
				report.Seconds(sample.Ready), report.Bytes(sample.Counters.BytesDown), sample.Counters.Requests)
		}
	}
	return samples, nil
}

func (b bench) print(p link.Profile, samples [][]cold.Sample) {
	last := cold.Median(samples[len(samples)-1])
	name := b.columns[len(b.columns)-1]
	var t report.Table
	t.Row(p.String(), "time to ready", "(range)", "of it pull", "bytes", "requests", "in flight", "time / "+name, "requests / "+name)
	for i, column := range b.columns {
		m := cold.Median(samples[i])
		t.Row(column, report.Seconds(m.Ready), timeRange(samples[i]), report.Seconds(m.Pull), report.Bytes(m.Counters.BytesDown),
			fmt.Sprint(m.Counters.Requests), fmt.Sprint(m.Counters.MaxInFlight),
			report.Ratio(m.Ready.Seconds(), last.Ready.Seconds()),
			report.Ratio(float64(m.Counters.Requests), float64(last.Counters.Requests)))
	}
	fmt.Println()
	t.Print(os.Stdout)
}

func timeRange(samples []cold.Sample) string {
	by := func(a, b cold.Sample) int { return int(a.Ready - b.Ready) }
	shortest, longest := slices.MinFunc(samples, by).Ready, slices.MaxFunc(samples, by).Ready
	return fmt.Sprintf("%.2f-%.2f", shortest.Seconds(), longest.Seconds())
}
