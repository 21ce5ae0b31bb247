// Command bench-diff measures what a commit of a container costs: ctr snapshots diff of one
// that has written three files, over an image that was pulled right before.
//
//	bench-diff [-n 3] [-image debian-scipy] [-profile 5ms/1Gbit] [-columns overlayfs,walking,ladle]
//
// What is measured, by column:
//
//	overlayfs  containerd's overlayfs and its own differ, the image in its gzip form
//	walking    ladle, the image as eStargz, and containerd's own differ
//	ladle      the same with ladle's differ
//
// ladle fetches nothing in the background, so that what passes the link is fetched for the
// commit. The table shows medians. The layer must be the same everywhere, but for times.
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

// onDemand lets nothing be fetched but what is read.
const onDemand = "noprefetch = true\nno_background_fetch = true\n"

// columns are what can be measured, without the image.
var columns = map[string]struct {
	format image.Format
	start  cold.Start
}{
	"overlayfs": {image.Gzip, cold.Start{Snapshotter: "overlayfs"}},
	"walking":   {image.EStargz, cold.Start{Snapshotter: "ladle", Daemons: []stack.Daemon{stack.Ladle("ladle", onDemand)}}},
	"ladle": {image.EStargz, cold.Start{
		Snapshotter: "ladle", Daemons: []stack.Daemon{stack.Ladle("ladle", onDemand+stack.DifferConfig)},
		Containerd: stack.Containerd{Edit: stack.WithDiffers},
	}},
}

func run(ctx context.Context) (err error) {
	rounds := flag.Int("n", 3, "samples of each column")
	recipe := flag.String("image", "debian-scipy", "recipe of the image")
	profile := flag.String("profile", "5ms/1Gbit", "link")
	list := flag.String("columns", "overlayfs,walking,ladle", "what to measure, comma-separated")
	flag.Parse()
	if *rounds < 1 {
		return errors.New("bench-diff: -n is at least 1")
	}
	p, err := link.ParseProfile(*profile)
	if err != nil {
		return err
	}
	progress := report.NewProgress(os.Stderr)
	cache, err := image.DefaultCache()
	if err != nil {
		return err
	}
	cache.Log = progress.Say
	registry, err := stack.StartRegistry(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	names := strings.Split(*list, ",")
	samples := map[string][]cold.Commit{}
	for round := range *rounds {
		for _, name := range names {
			c, ok := columns[name]
			if !ok {
				return fmt.Errorf("bench-diff: no column %q", name)
			}
			img, err := cache.Image(ctx, *recipe, c.format)
			if err != nil {
				return err
			}
			if c.start.Image, err = registry.Push(ctx, img); err != nil {
				return err
			}
			sample, err := cold.MeasureCommit(ctx, registry.Addr, p, c.start)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			samples[name] = append(samples[name], sample)
			progress.Say("round %d of %d: %s committed in %s", round+1, *rounds, name, report.Seconds(sample.Took))
			if first := samples[names[0]][0]; first.Digest != sample.Digest {
				return fmt.Errorf("bench-diff: %s makes the layer %s of %d bytes, %s %s of %d", name, sample.Digest, sample.Size, names[0], first.Digest, first.Size)
			}
		}
	}
	fmt.Printf("%s, %s, ctr snapshots diff after three files, %d samples\n\n", *recipe, p, *rounds)
	var t report.Table
	t.Row("", "time", "fetched", "requests", "layer")
	for _, name := range names {
		all := samples[name]
		took := report.Median(all, func(c cold.Commit) float64 { return c.Took.Seconds() })
		fetched := report.Median(all, func(c cold.Commit) int64 { return c.Counters.BytesDown })
		requests := report.Median(all, func(c cold.Commit) int64 { return c.Counters.Requests })
		t.Row(name, fmt.Sprintf("%.2f s", took), report.Bytes(fetched), fmt.Sprint(requests), fmt.Sprintf("%d B", all[0].Size))
	}
	t.Print(os.Stdout)
	return nil
}
