// Command convert compares ladle convert with the peer that converts images by
// stargz-snapshotter and containerd's converter, as nerdctl image convert --oci and
// ctr-remote image convert do: same image, in turns, medians of time, CPU time and memory.
//
//	convert [-n ROUNDS] [-ladle PROGRAM] LAYOUT
//
// LAYOUT is an OCI image layout with one image. The peer has it in a content store of
// containerd before the time starts, as these commands have; ladle reads the layout and
// writes another one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	rounds := flag.Int("n", 3, "rounds")
	ladle := flag.String("ladle", "../bin/ladle", "program to compare")
	asPeer := flag.String("peer", "", "be the peer, for this `FORMAT`")
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("usage: convert [-n ROUNDS] [-ladle PROGRAM] LAYOUT")
	}
	layout, err := filepath.Abs(flag.Arg(0))
	if err != nil {
		return err
	}
	if *asPeer != "" {
		return convertAsPeer(ctx, layout, *asPeer)
	}
	for _, format := range []string{"estargz", "zstd:chunked"} {
		samples := map[string][]sample{}
		for range *rounds {
			for _, of := range []struct {
				name    string
				command func(context.Context, string) *exec.Cmd
			}{
				{"ladle", func(ctx context.Context, dir string) *exec.Cmd {
					return exec.CommandContext(ctx, *ladle, "convert", "--quiet", "--format", format, "oci:"+layout, "oci:"+dir+":1")
				}},
				{"peer", func(ctx context.Context, dir string) *exec.Cmd { return peerCommand(ctx, dir, format) }},
			} {
				s, err := measure(ctx, layout, of.name == "peer", of.command)
				if err != nil {
					return fmt.Errorf("%s: %w", of.name, err)
				}
				samples[of.name] = append(samples[of.name], s)
			}
		}
		for _, name := range []string{"ladle", "peer"} {
			fmt.Printf("%-12s %-5s %s\n", format, name, median(samples[name]))
		}
	}
	return nil
}

// sample is one run.
type sample struct {
	took, cpu    time.Duration
	memory, size int64 // bytes: at most, and of the layers of the result
}

func (s sample) String() string {
	return fmt.Sprintf("%6.1f s, CPU %6.1f s, memory %4d MB, layers %6.1f MB", s.took.Seconds(), s.cpu.Seconds(), s.memory>>20, float64(s.size)/1e6)
}

// median returns the median of each figure.
func median(all []sample) sample {
	return sample{
		took: middle(all, func(s sample) time.Duration { return s.took }), cpu: middle(all, func(s sample) time.Duration { return s.cpu }),
		memory: middle(all, func(s sample) int64 { return s.memory }), size: middle(all, func(s sample) int64 { return s.size }),
	}
}

func middle[T time.Duration | int64](all []sample, of func(sample) T) T {
	var values []T
	for _, s := range all {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// measure runs a command once, in a directory that has the image's blobs for the peer.
func measure(ctx context.Context, layout string, filled bool, command func(context.Context, string) *exec.Cmd) (s sample, err error) {
	dir, err := os.MkdirTemp("/var/tmp", "bench-convert-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	if filled {
		if err := os.CopyFS(dir, os.DirFS(layout)); err != nil {
			return s, err
		}
	}
	cmd := command(ctx, dir)
	cmd.Env = append(os.Environ(), "TMPDIR=/var/tmp")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, out)
	}
	s.took = time.Since(began)
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	s.memory = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	s.size, err = layersIn(dir)
	return s, err
}

// layersIn returns the bytes of the layers of the result, which is the image of index.json.
func layersIn(dir string) (size int64, err error) {
	var idx ocispec.Index
	if err := read(filepath.Join(dir, ocispec.ImageIndexFile), &idx); err != nil {
		return 0, err
	}
	var manifest ocispec.Manifest
	if err := read(filepath.Join(dir, "blobs", "sha256", idx.Manifests[0].Digest.Encoded()), &manifest); err != nil {
		return 0, err
	}
	for _, l := range manifest.Layers {
		size += l.Size
	}
	return size, nil
}

func read(name string, to any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}
