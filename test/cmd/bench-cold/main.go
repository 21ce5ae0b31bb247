// Command bench-cold measures cold starts over simulated links: the time until
// python has imported numpy and scipy, or until all of the image has been read,
// with the bytes and requests until then.
//
//	bench-cold [-n 5] [-columns overlayfs,stargz,parallel,unpigz,plain,again,soci,ladle] [-profiles 500µs/10Gbit,5ms/1Gbit,20ms/200Mbit,50ms/100Mbit]
//	bench-cold -read [-n 5] [-plain gzip,zstd,uncompressed] [-columns parallel,plain] ...
//	bench-cold -weights 4096 [-n 5] [-plain uncompressed] [-columns parallel,plain] ...
//
// What is measured, by column:
//
//	overlayfs  containerd as it is once it is installed, the image in its gzip form
//	parallel   overlayfs with parallel unpacking and ranged fetching on, and igzip
//	unpigz     the same, inflating by unpigz; for gzip only
//	plain      ladle, nothing prepared: the image that parallel pulls
//	again      ladle, the image that plain pulls for the second time: it was removed, with its data
//	soci       ladle, the image that plain pulls, with an index that SOCI's builder made of layers from
//	           10 MiB on; only if asked for, since that takes gcc and zlib1g-dev
//	stargz     stargz-snapshotter, the image as eStargz without prioritized files
//	ladle      ladle, the image that stargz pulls
//
// The columns are interleaved: one sample of each per round. Every sample starts
// with a new containerd, a new snapshotter and empty state. The table shows
// medians, each figure on its own, and the range of the times. Requests are counted
// at the link until ready. Registry, link and node share the machine's CPUs, so a
// link of 10 Gbit carries what they can do, for all columns alike.
//
// -read runs tar over the whole root filesystem in place of python. -weights reads one file
// of so many MiB in order, of an image with nothing else, and prints how much of the link its
// pull, and pull and reading, take up. What the command prints, with -read the bytes of the
// tar, must be the same everywhere.
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
	"slices"
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
	recipe   string
	weights  int64          // MiB of the file of -weights, or 0
	lazy     image.Format   // of stargz and ladle
	plain    []image.Format // of the others but overlayfs, one after the other
	columns  []string
	profiles []link.Profile
	command  []string
	progress *report.Progress
}

// readAll reads all files. tar does not read what it writes to /dev/null, and wc prints
// when it has everything.
const readAll = "tar -c --one-file-system -f - / 2>/dev/null | wc -c"

// readWeights reads the file of an image.Weights.
const readWeights = "dd if=/" + image.WeightsPath + " of=/dev/null bs=1M 2>/dev/null && echo read"

func run(ctx context.Context) error {
	b := bench{progress: report.NewProgress(os.Stderr)}
	flag.IntVar(&b.rounds, "n", 5, "samples of each column on each link")
	flag.StringVar(&b.recipe, "image", "debian-scipy", "recipe of the image")
	format := flag.String("format", string(image.EStargz), "format that stargz and ladle pull")
	plain := flag.String("plain", "", "formats that parallel, unpigz and plain pull, comma-separated (gzip; with -read gzip,zstd,uncompressed; with -weights uncompressed)")
	command := flag.String("command", "import numpy, scipy.linalg; print('ready', flush=True)", "python program")
	read := flag.Bool("read", false, "read the whole image instead")
	flag.Int64Var(&b.weights, "weights", 0, "read a file of so many MiB instead")
	columns := flag.String("columns", "", "what to measure, comma-separated (overlayfs,stargz,parallel,unpigz,plain,again,ladle, and soci; with -read and -weights parallel,plain)")
	profiles := flag.String("profiles", "500µs/10Gbit,5ms/1Gbit,20ms/200Mbit,50ms/100Mbit", "links, comma-separated")
	flag.Parse()
	b.lazy, b.command = image.Format(*format), []string{"python3", "-c", *command}
	formats := "gzip"
	list := "overlayfs,stargz,parallel,unpigz,plain,again,ladle"
	if *read {
		b.command = []string{"sh", "-c", readAll}
		formats, list = "gzip,zstd,uncompressed", "parallel,plain"
	}
	if b.weights > 0 {
		b.recipe, b.command = image.Weights(b.weights<<20).Name, []string{"sh", "-c", readWeights}
		formats, list = "uncompressed", "parallel,plain"
	}
	if *plain != "" {
		formats = *plain
	}
	if *columns != "" {
		list = *columns
	}
	b.columns = strings.Split(list, ",")
	for _, f := range strings.Split(formats, ",") {
		b.plain = append(b.plain, image.Format(f))
	}
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
	registry, err := stack.StartRegistry(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	for _, plain := range b.plain {
		columns, err := b.prepare(ctx, registry, plain)
		if err != nil {
			return err
		}
		fmt.Printf("%s, plain %s, lazy %s, median of %d (range): %q\n", b.recipe, plain, b.lazy, b.rounds, b.command)
		for _, p := range b.profiles {
			if err := b.measure(ctx, registry, p, columns); err != nil {
				return err
			}
			b.print(p, columns)
		}
		fmt.Println()
	}
	return nil
}

// measure takes the samples of one link.
func (b bench) measure(ctx context.Context, r *stack.Registry, p link.Profile, columns []*column) error {
	for _, c := range columns {
		c.samples = nil
	}
	for round := range b.rounds {
		for _, c := range columns {
			sample, err := cold.Measure(ctx, r.Addr, p, c.start)
			if err != nil {
				return fmt.Errorf("%s at %s: %w", c.name, p, err)
			}
			c.samples = append(c.samples, sample)
			if want := columns[0].samples[0].Output; sample.Output != want {
				return fmt.Errorf("%s at %s: the output is %q, that of %s is %q", c.name, p, sample.Output, columns[0].name, want)
			}
			b.progress.Say("%s round %d of %d: %s ready after %s, %s in %d requests", p, round+1, b.rounds, c.name,
				report.Seconds(sample.Ready), report.Bytes(sample.Counters.BytesDown), sample.Counters.Requests)
		}
	}
	return nil
}
