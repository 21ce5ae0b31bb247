package main

import (
	"context"
	"fmt"

	"github.com/ladle-dev/ladle/test/cold"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// column is what is measured with one snapshotter and image.
type column struct {
	name    string
	start   cold.Start
	samples []cold.Sample // of the current link
}

// prepare makes the columns of a plain format, and puts their images in the registry.
// Columns that are for gzip only are left out where it is another one.
func (b bench) prepare(ctx context.Context, r *stack.Registry, plain image.Format) ([]*column, error) {
	if !plain.Plain() {
		return nil, fmt.Errorf("bench-cold: %q is no plain format", plain)
	}
	cache, err := image.DefaultCache()
	if err != nil {
		return nil, err
	}
	cache.Log = b.progress.Say
	var columns []*column
	for _, name := range b.columns {
		if (name == "unpigz" || name == "soci") && plain != image.Gzip {
			continue
		}
		c := &column{name: name}
		var format image.Format
		if format, c.start, err = b.startOf(name, plain); err != nil {
			return nil, err
		}
		img, err := b.image(ctx, cache, format)
		if err != nil {
			return nil, err
		}
		if name == "soci" {
			c.start.Image, err = b.pushSOCI(ctx, r, img)
		} else {
			c.start.Image, err = r.Push(ctx, img)
		}
		if err != nil {
			return nil, err
		}
		c.start.Args = b.command
		columns = append(columns, c)
	}
	return columns, nil
}

// pushSOCI puts an image with a SOCI index of SOCI's own builder in the registry.
func (b bench) pushSOCI(ctx context.Context, r *stack.Registry, img *image.Image) (string, error) {
	b.progress.Say("making ztocs")
	to := img.Name + ":soci"
	return to, img.PushSOCI(ctx, r.Addr+"/"+to, image.SOCI{Builder: image.ZtocOfSOCI, Least: image.SOCIMinLayer})
}

func (b bench) image(ctx context.Context, cache *image.Cache, format image.Format) (*image.Image, error) {
	if b.weights > 0 {
		return cache.Make(ctx, image.Weights(b.weights<<20), format)
	}
	return cache.Image(ctx, b.recipe, format)
}

// startOf says what a column runs, and of which image.
func (b bench) startOf(name string, plain image.Format) (f image.Format, s cold.Start, err error) {
	f, s = plain, cold.Start{Snapshotter: name}
	switch name {
	case "overlayfs":
		f, s.Containerd = image.Gzip, cold.Default
	case "parallel", "unpigz":
		inflate := name
		if name == "parallel" {
			inflate = "igzip"
		}
		s.Snapshotter = "overlayfs"
		s.Containerd, err = cold.Parallel(inflate)
	case "plain", "soci":
		s.Daemons = []stack.Daemon{stack.Ladle(name, "")}
	case "again":
		s.Daemons, s.Again = []stack.Daemon{stack.Ladle(name, "")}, true
	case "ladle":
		f, s.Daemons = b.lazy, []stack.Daemon{stack.Ladle(name, "")}
	case "stargz":
		f, s.Daemons = b.lazy, []stack.Daemon{stack.Stargz(name, "")}
	default:
		err = fmt.Errorf("bench-cold: no column %q", name)
	}
	return f, s, err
}
