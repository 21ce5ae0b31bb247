// Command demo runs a container from an image that is not there yet, and shows
// what that took beside the ordinary pull on the same simulated link.
//
//	demo [-image REF] [-profile 20ms/200Mbit] [-command 'python3 -c ...'] [-format estargz]
//
// Without -image the image is debian-python, made from this machine's own
// distribution. With it, the image is copied from its registry (with docker's
// credentials) and, if its layers are not lazily readable, converted on the way.
//
// It needs root, what `script/components.sh demo` installs, and bin/ladle. The registry
// is in this process (image.Serve). Everything that it starts runs on private sockets
// and directories and is removed again, after an interrupt too. What it built stays in
// .cache for the next run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ladle-dev/ladle/test/cold"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/link"
	"github.com/ladle-dev/ladle/test/place"
	"github.com/ladle-dev/ladle/test/report"
	"github.com/ladle-dev/ladle/test/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx)
	var left *stack.CleanupError
	switch {
	case err == nil:
	case ctx.Err() != nil && !errors.As(err, &left):
		fmt.Fprintln(os.Stderr, "interrupted; everything that was started is stopped and removed")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// demo is what the flags ask for.
type demo struct {
	image    string
	profile  link.Profile
	command  []string
	format   image.Format
	progress *report.Progress

	containerd stack.Containerd
}

const (
	recipe         = "debian-python"
	pythonCommand  = `import json, platform; print(json.dumps({"python": platform.python_version()}))`
	defaultCommand = `echo a shell runs in the container`
)

func run(ctx context.Context) error {
	d := demo{progress: report.NewProgress(os.Stderr)}
	ref := flag.String("image", "", "reference of an image in a registry")
	profile := flag.String("profile", "20ms/200Mbit", "round-trip time and bandwidth of the link")
	command := flag.String("command", "", "what to run, for sh -c")
	format := flag.String("format", string(image.EStargz), fmt.Sprint("what ladle pulls, one of ", image.Formats()))
	flag.Parse()
	var err error
	if d.profile, err = link.ParseProfile(*profile); err != nil {
		return err
	}
	d.image, d.format = *ref, image.Format(*format)
	switch {
	case *command != "":
		d.command = []string{"/bin/sh", "-c", *command}
	case d.image == "":
		d.command = []string{"python3", "-c", pythonCommand}
	default:
		d.command = []string{"/bin/sh", "-c", defaultCommand}
	}
	return d.run(ctx)
}

func (d demo) run(ctx context.Context) (err error) {
	if _, err := place.Ladle(); err != nil {
		return err // before the minutes that the image may take
	}
	if d.containerd, err = findContainerd(); err != nil {
		return err
	}
	plain, lazy, err := d.images(ctx)
	if err != nil {
		return err
	}
	what := "plain and as " + string(lazy.Format)
	if lazy == plain {
		what = "lazily readable as it is"
	}
	d.progress.Say("starting a registry with the image, %s", what)
	registry, err := image.Serve(ctx, plain, lazy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	// ladle first: what the second start finds warmer is to overlayfs's benefit.
	ours, err := d.start(ctx, registry, cold.Start{Snapshotter: "ladle", Image: lazy.Tag(),
		Daemons: []stack.Daemon{stack.Ladle("ladle", "")}})
	if err != nil {
		return err
	}
	theirs, err := d.start(ctx, registry, cold.Start{Snapshotter: "overlayfs", Image: plain.Tag()})
	if err != nil {
		return err
	}
	d.print(plain, ours, theirs)
	return nil
}

// images is the image as an ordinary one and as a lazily readable one; the same
// if it was that already in its registry.
func (d demo) images(ctx context.Context) (plain, lazy *image.Image, err error) {
	cache, err := image.DefaultCache()
	if err != nil {
		return nil, nil, err
	}
	cache.Log = d.progress.Say
	get := func(f image.Format) (*image.Image, error) {
		if d.image == "" {
			return cache.Image(ctx, recipe, f)
		}
		return cache.Copy(ctx, d.image, f)
	}
	if plain, err = get(image.Gzip); err != nil {
		return nil, nil, err
	}
	if isLazy, err := plain.Lazy(); err != nil || isLazy {
		return plain, plain, err
	}
	lazy, err = get(d.format)
	return plain, lazy, err
}

// findContainerd returns the containerd of script/components.sh, or else the one that
// the machine has.
func findContainerd() (stack.Containerd, error) {
	_, missing := place.Component("containerd")
	if missing == nil {
		return stack.Containerd{}, nil
	}
	path, err := exec.LookPath("containerd")
	if err != nil {
		return stack.Containerd{}, missing
	}
	return stack.Containerd{Dir: filepath.Dir(path)}, nil
}

func (d demo) start(ctx context.Context, r *image.Server, s cold.Start) (cold.Sample, error) {
	s.Args, s.Containerd = d.command, d.containerd
	d.progress.Say("%s: ctr images pull --snapshotter %[1]s over %s, then a container", s.Snapshotter, d.profile)
	sample, err := cold.Measure(ctx, r.Addr, d.profile, s)
	if err == nil {
		d.progress.Say("%s: the container printed %q after %s", s.Snapshotter, strings.TrimSpace(sample.Output), report.Seconds(sample.Ready))
	}
	return sample, err
}

func (d demo) print(img *image.Image, ours, theirs cold.Sample) {
	fmt.Printf("\n%s over a link of %s, cold: %s\n\n", img.Name, d.profile, strings.Join(d.command, " "))
	var t report.Table
	t.Row("", "time to ready", "of it pull", "bytes fetched", "requests")
	for _, row := range []struct {
		name string
		cold.Sample
	}{{"overlayfs", theirs}, {"ladle", ours}} {
		t.Row(row.name, report.Seconds(row.Ready), report.Seconds(row.Pull), report.Bytes(row.Counters.BytesDown),
			fmt.Sprint(row.Counters.Requests))
	}
	t.Row("overlayfs / ladle", report.Ratio(theirs.Ready.Seconds(), ours.Ready.Seconds()),
		report.Ratio(theirs.Pull.Seconds(), ours.Pull.Seconds()),
		report.Ratio(float64(theirs.Counters.BytesDown), float64(ours.Counters.BytesDown)),
		report.Ratio(float64(theirs.Counters.Requests), float64(ours.Counters.Requests)))
	t.Print(os.Stdout)
	fmt.Println()
}
