// Command bench-import measures what the first pull of an image without tables of contents
// costs a node besides time: memory of the daemon and space on the disk, beside overlayfs
// with parallel unpacking and ranged fetching on.
//
//	bench-import [-size 400] [-layers 40] [-format gzip] [-n 1] [-columns parallel,ladle] [-profile 5ms/1Gbit] [-cpuprofile FILE]
//
// The image is synthetic: files of 31 KiB on average, with text, size MiB in all. -image
// takes one of the recipes of the tests instead. The table shows the most that was
// resident of the daemon (of containerd, where there is none), what all files of the node
// take on disk, after the pull and at most while it ran, and that as a multiple of the
// image's uncompressed tars. Of several samples each figure is the largest, but the time,
// which is the median. -cpuprofile writes profiles of ladle, FILE.0 and so on, which
// go tool pprof merges.
//
// It needs root, what script/components.sh installs, and bin/ladle.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/ladle-dev/ladle/test/cold"
	"github.com/ladle-dev/ladle/test/command"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/report"
	"github.com/ladle-dev/ladle/test/stack"
)

func main() { command.Main(run) }

type bench struct {
	rounds   int
	format   image.Format
	columns  []string
	profile  link.Profile
	cpu      string // prefix of files; "" for none
	progress *report.Progress
}

func run(ctx context.Context) error {
	b := bench{progress: report.NewProgress(os.Stderr)}
	flag.IntVar(&b.rounds, "n", 1, "samples of each column")
	size := flag.Int64("size", 400, "MiB of all files of the image")
	layers := flag.Int("layers", 40, "layers of the image")
	recipe := flag.String("image", "", "recipe of another image")
	format := flag.String("format", string(image.Gzip), "format of the image: gzip, zstd or uncompressed")
	columns := flag.String("columns", "parallel,ladle", "what to measure, comma-separated")
	profile := flag.String("profile", "5ms/1Gbit", "link")
	flag.StringVar(&b.cpu, "cpuprofile", "", "prefix of files for CPU profiles of ladle's pull, of two seconds each; with -n 1")
	flag.Parse()
	if b.rounds < 1 || *layers < 1 || *size < 1 || b.rounds > 1 && b.cpu != "" {
		return errors.New("bench-import: -n, -layers and -size are at least 1, and -n with -cpuprofile no more")
	}
	b.format, b.columns = image.Format(*format), strings.Split(*columns, ",")
	var err error
	if b.profile, err = link.ParseProfile(*profile); err != nil {
		return err
	}
	cache, err := image.DefaultCache()
	if err != nil {
		return err
	}
	cache.Log = b.progress.Say
	var img *image.Image
	if *recipe != "" {
		img, err = cache.Image(ctx, *recipe, b.format)
	} else {
		b.progress.Say("making %d layers of %d MiB together, unless they are there", *layers, *size)
		img, err = cache.Make(ctx, image.Layered(*layers, *size<<20), b.format)
	}
	if err != nil {
		return err
	}
	return b.run(ctx, img)
}

func (b bench) run(ctx context.Context, img *image.Image) (err error) {
	uncompressed, err := img.UncompressedSize()
	if err != nil {
		return err
	}
	registry, err := stack.StartRegistry(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	name, err := registry.Push(ctx, img)
	if err != nil {
		return err
	}
	samples := make([][]cold.Cost, len(b.columns))
	for round := range b.rounds {
		for i, column := range b.columns {
			cost, err := b.measure(ctx, registry, column, name)
			if err != nil {
				return fmt.Errorf("%s: %w", column, err)
			}
			samples[i] = append(samples[i], cost)
			b.progress.Say("round %d of %d: %s pulled after %s, %s in memory, %s on disk", round+1, b.rounds, column,
				report.Seconds(cost.Took), report.Bytes(cost.Memory), report.Bytes(cost.Disk))
		}
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	fmt.Printf("%s, %s, %d layers, %s uncompressed, %s, %d samples\n\n",
		img.Name, img.Format, len(layers), report.Bytes(uncompressed), b.profile, b.rounds)
	b.print(uncompressed, samples)
	return nil
}

func (b bench) measure(ctx context.Context, r *stack.Registry, column, name string) (cold.Cost, error) {
	s := cold.Start{Snapshotter: column, Image: name}
	switch column {
	case "overlayfs":
		s.Containerd = cold.Default
	case "parallel":
		var err error
		s.Snapshotter = "overlayfs"
		if s.Containerd, err = cold.Parallel("igzip"); err != nil {
			return cold.Cost{}, err
		}
	case "ladle":
		return b.measureLadle(ctx, r, s)
	default:
		return cold.Cost{}, fmt.Errorf("bench-import: no column %q", column)
	}
	return cold.MeasureCost(ctx, r.Addr, b.profile, s, nil)
}

func (b bench) print(uncompressed int64, samples [][]cold.Cost) {
	var t report.Table
	t.Row("", "pull", "memory", "on disk", "/ uncompressed", "most on disk", "/ uncompressed", "bytes", "requests")
	part := func(n int64) string { return fmt.Sprintf("%.3f", float64(n)/float64(uncompressed)) }
	for i, column := range b.columns {
		took := report.Median(samples[i], func(c cold.Cost) float64 { return c.Took.Seconds() })
		m := samples[i][0]
		for _, c := range samples[i][1:] {
			m.Memory, m.Disk, m.DiskMost = max(m.Memory, c.Memory), max(m.Disk, c.Disk), max(m.DiskMost, c.DiskMost)
			m.Counters.BytesDown = max(m.Counters.BytesDown, c.Counters.BytesDown)
			m.Counters.Requests = max(m.Counters.Requests, c.Counters.Requests)
		}
		t.Row(column, fmt.Sprintf("%.2f s", took), fmt.Sprintf("%.0f MiB", float64(m.Memory)/(1<<20)), report.Bytes(m.Disk), part(m.Disk),
			report.Bytes(m.DiskMost), part(m.DiskMost), report.Bytes(m.Counters.BytesDown), fmt.Sprint(m.Counters.Requests))
	}
	t.Print(os.Stdout)
}
