// Command bench measures what is left of the cost of a snapshotter when all
// data is local: ladle beside overlayfs, and stargz-snapshotter as the peer.
//
//	bench [-n 3] [-quick] [-subjects overlayfs,stargz,ladle] [-steps walk,reads,layers] [-config TOML]
//
// All subjects run at the same time on one containerd and are measured in turns,
// on the mounted root filesystems of active snapshots: each round measures each
// of them once, what is warm pass by pass. overlayfs pulls the images in their ordinary form, stargz and
// ladle as eStargz; what is read later is read once before, and background
// fetching is off for both. Package warm says what cold means. The images:
//
//	debian-scipy  37,000 files, walked by find -xdev -printf '%s %m %U'
//	steady        10,000 files of 4 KiB, opened, read and closed one after the
//	              other; one of 256 MiB, read from end to end in 128 KiB, and in
//	              2,000 single pages at random through mmap
//	flat, spread  the same 30,000 files in one layer and in 60, walked; how long
//	              Prepare (through containerd) and mount(2) take
//
// The table shows medians with ranges, ladle as a multiple of overlayfs (the
// median of the rounds' ratios), and whether the goals are met. A missed goal is no error. -quick does one round
// with small images, as a smoke test; its figures mean nothing.
//
// It needs root, what script/components.sh installs, bin/ladle, and Go for the
// peer. It drops the kernel's caches, for all of the machine.
package main

import (
	"context"
	"flag"
	"os"
	"strings"

	"github.com/ladle-dev/ladle/test/command"
	"github.com/ladle-dev/ladle/test/report"
	"github.com/ladle-dev/ladle/test/warm"
)

func main() { command.Main(run) }

// probeCommand is the first argument of the child processes.
const probeCommand = "probe"

func run(ctx context.Context) error {
	if len(os.Args) > 1 && os.Args[1] == probeCommand {
		return warm.Probe(os.Args[2:])
	}
	rounds := flag.Int("n", 3, "rounds")
	quick := flag.Bool("quick", false, "one round with small images")
	subjects := flag.String("subjects", "overlayfs,stargz,ladle", "what to measure, comma-separated")
	steps := flag.String("steps", "walk,reads,layers", "what to do in a round, comma-separated")
	config := flag.String("config", "", "more configuration of ladle, TOML")
	flag.Parse()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	options := warm.Full(*rounds)
	if *quick {
		options = warm.Quick()
	}
	options.Subjects = strings.Split(*subjects, ",")
	options.Steps = strings.Split(*steps, ",")
	options.Config = *config
	options.Probe = []string{self, probeCommand}
	options.Say = report.NewProgress(os.Stderr).Say
	result, err := warm.Run(ctx, options)
	if err != nil {
		return err
	}
	result.Print(os.Stdout)
	return nil
}
