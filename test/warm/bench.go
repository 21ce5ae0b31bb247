package warm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// Options say what is measured. All fields but Config are required.
type Options struct {
	Rounds   int
	Subjects []string // of Overlayfs, Stargz and Ladle
	Steps    []string // of Walk, Reads and Layers
	// Walk is the recipe of the image that is walked. Steady, Flat and Spread
	// are recipes like those of these names.
	Walk, Steady, Flat, Spread string
	Touches                    int      // pages read at random
	Config                     string   // more configuration of ladle
	Probe                      []string // the command that runs Probe
	Say                        func(format string, args ...any)
}

// Full is the options of a measurement worth reading, but for subjects and
// commands.
func Full(rounds int) Options {
	return Options{Rounds: rounds, Walk: "debian-scipy", Steady: "steady", Flat: "flat", Spread: "spread", Touches: 2000}
}

// Quick is the options of a smoke test: everything once, and small.
func Quick() Options {
	return Options{Rounds: 1, Walk: "flat-small", Steady: "steady-small", Flat: "flat-small", Spread: "spread-small", Touches: 50}
}

// The steps of a round.
const (
	Walk   = "walk"
	Reads  = "reads"
	Layers = "layers"
)

// The subjects.
const (
	Overlayfs = "overlayfs"
	Stargz    = "stargz"
	Ladle     = "ladle"
)

// bench is a running measurement.
type bench struct {
	Options
	cache      *image.Cache
	registry   *stack.Registry
	node       *stack.Node
	containerd *containerd
	tracing    *tracing // nil where the kernel has none
	figures    figures
}

// Run measures all subjects, on one node and in turns.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	b := &bench{Options: o, figures: figures{}}
	defer func() {
		if err != nil && b.node != nil {
			err = fmt.Errorf("%w\n%s", err, b.node.Logs())
		}
		err = errors.Join(err, b.close())
	}()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	for round := range b.Rounds {
		if err := b.round(ctx, round); err != nil {
			return nil, err
		}
	}
	if err := b.daemons(); err != nil {
		return nil, err
	}
	return &Report{Options: o, figures: b.figures}, nil
}

func (b *bench) start(ctx context.Context) (err error) {
	if b.cache, err = image.DefaultCache(); err != nil {
		return err
	}
	b.cache.Log = b.Say
	if b.registry, err = stack.StartRegistry(ctx); err != nil {
		return err
	}
	node := stack.NodeOptions{Registry: b.registry.Addr}
	for _, s := range b.Subjects {
		switch s {
		case Overlayfs:
		case Stargz:
			if err := stack.BuildStargz(ctx); err != nil {
				return err
			}
			node.Daemons = append(node.Daemons, stack.Stargz(s, peerConfig))
		case Ladle:
			node.Daemons = append(node.Daemons, quiet(stack.Ladle(s, ladleConfig+b.Config)))
		default:
			return fmt.Errorf("warm: no subject %q", s)
		}
	}
	if b.node, err = stack.StartNode(ctx, node); err != nil {
		return err
	}
	if b.tracing, err = newTracing(); err != nil {
		b.Say("requests are not counted: %v", err)
	}
	b.containerd, err = connect(b.node)
	return err
}

// Nothing is fetched while something is measured: what is read has been read
// before.
const (
	peerConfig  = "no_background_fetch = true\n"
	ladleConfig = "no_background_fetch = true\nmetrics_address = \"127.0.0.1:0\"\n"
)

// quiet is the daemon with its own default level of logging.
func quiet(d stack.Daemon) stack.Daemon {
	d.After = nil
	return d
}

// close ends everything, in the end also what a cancelled context began.
func (b *bench) close() error {
	var errs []error
	if b.tracing != nil {
		errs = append(errs, b.tracing.close())
	}
	if b.containerd != nil {
		errs = append(errs, b.containerd.conn.Close())
	}
	if b.node != nil {
		errs = append(errs, b.node.Close())
	}
	if b.registry != nil {
		errs = append(errs, b.registry.Close())
	}
	return errors.Join(errs...)
}

// image is a recipe's image as a subject pulls it: overlayfs in its ordinary
// form, the others lazily.
func (b *bench) image(ctx context.Context, recipe, subject string) (*image.Image, error) {
	if subject == Overlayfs {
		return b.cache.Image(ctx, recipe, image.Gzip)
	}
	return b.cache.Image(ctx, recipe, image.EStargz)
}

// recipes are those that the steps need.
func (b *bench) recipes() (recipes []string) {
	for _, step := range b.Steps {
		switch step {
		case Walk:
			recipes = append(recipes, b.Walk)
		case Reads:
			recipes = append(recipes, b.Steady)
		case Layers:
			recipes = append(recipes, b.Flat, b.Spread)
		}
	}
	return recipes
}

// prepare pulls every image for every subject and reads those files that are
// read later, so that they are local.
func (b *bench) prepare(ctx context.Context) error {
	for _, recipe := range b.recipes() {
		for _, subject := range b.Subjects {
			if err := b.pull(ctx, recipe, subject); err != nil {
				return err
			}
		}
	}
	if !slices.Contains(b.Steps, Reads) {
		return nil
	}
	return b.inAll(ctx, b.Steady, b.Subjects, func(all []*rootfs) error {
		for _, r := range all {
			b.Say("%s: reading everything once", r.subject)
			if err := readAll(r.path); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) pull(ctx context.Context, recipe, subject string) error {
	img, err := b.image(ctx, recipe, subject)
	if err != nil {
		return err
	}
	name, err := b.registry.Push(ctx, img)
	if err != nil {
		return err
	}
	b.Say("%s: pulling %s", subject, name)
	began := time.Now()
	err = b.node.Pull(ctx, subject, b.registry.Addr+"/"+name)
	if err != nil || recipe != b.Spread {
		return err
	}
	b.figures.add(spreadPull, subject, time.Since(began).Seconds())
	r, err := b.mount(ctx, recipe, subject)
	if err != nil {
		return err
	}
	b.figures.add(spreadFirst, subject, (r.prepared + r.mounted).Seconds())
	return r.close(context.WithoutCancel(ctx))
}

// mount prepares and mounts a root filesystem of a pulled image, which the
// caller closes.
func (b *bench) mount(ctx context.Context, recipe, subject string) (*rootfs, error) {
	img, err := b.image(ctx, recipe, subject)
	if err != nil {
		return nil, err
	}
	return b.containerd.rootfs(ctx, subject, img)
}
