package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/test/place"
)

// Cache keeps images on disk. Several processes may use one directory: an image
// is made by one of them while the others wait.
type Cache struct {
	Dir string                           // required
	Log func(format string, args ...any) // progress; nil is silent
}

// DefaultCache is the cache that tests and commands share.
func DefaultCache() (*Cache, error) {
	dir, err := place.Cache()
	if err != nil {
		return nil, err
	}
	return &Cache{Dir: filepath.Join(dir, "images")}, nil
}

// Image is one image of the cache.
type Image struct {
	Name   string
	Format Format
	v1.Image
	// TOC is the image that holds the TOCs of a format that keeps them outside
	// of the layers; nil for the others.
	TOC v1.Image
	dir layout.Path
}

// UncompressedSize is the bytes of the tars of all layers, which are inflated for that.
func (i *Image) UncompressedSize() (int64, error) {
	layers, err := i.Layers()
	if err != nil {
		return 0, fmt.Errorf("image: %s: %w", i.Name, err)
	}
	var size int64
	for _, l := range layers {
		n, err := uncompressedSize(l)
		if err != nil {
			return 0, fmt.Errorf("image: %s: %w", i.Name, err)
		}
		size += n
	}
	return size, nil
}

func uncompressedSize(l v1.Layer) (n int64, err error) {
	r, err := l.Uncompressed()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.Copy(io.Discard, r)
}

// Tag is the repository and the tag that the image has in registries of tests.
func (i *Image) Tag() string { return i.Name + ":" + string(i.Format) }

// Image returns the recipe's image in the given format, made now if the cache
// does not have it.
func (c *Cache) Image(ctx context.Context, name string, format Format) (*Image, error) {
	recipe, err := recipeNamed(name)
	if err != nil {
		return nil, err
	}
	return c.Make(ctx, recipe, format)
}

// Make is Image of a recipe that need not be one of Recipes. Its name must tell it from
// all others.
func (c *Cache) Make(ctx context.Context, recipe Recipe, format Format) (*Image, error) {
	key := fmt.Sprintf("%s-v%d", recipe.Name, recipe.Version)
	return c.get(ctx, source{name: recipe.Name, key: key, prioritized: recipe.Prioritized, plain: func(dir layout.Path) error {
		return c.cook(ctx, recipe, dir)
	}}, format)
}

// source is where the Gzip form of an image comes from.
type source struct {
	name, key   string
	prioritized []string
	plain       func(dir layout.Path) error // writes the image into an empty layout
}

func (c *Cache) get(ctx context.Context, src source, format Format) (*Image, error) {
	write := src.plain
	if format != Gzip {
		if !format.known() {
			return nil, fmt.Errorf("image: no format %q", format)
		}
		write = func(dir layout.Path) error {
			plain, err := c.get(ctx, src, Gzip)
			if err != nil {
				return err
			}
			c.log("%s: converting to %s", src.name, format)
			if format.Plain() {
				return repack(ctx, plain, format, dir)
			}
			return convert(ctx, conversion{from: plain, to: format, dir: dir, prioritized: src.prioritized})
		}
	}
	dir := filepath.Join(c.Dir, src.key, string(format))
	if err := c.ensure(dir, write); err != nil {
		return nil, err
	}
	return open(src.name, format, layout.Path(dir))
}

// ensure writes the layout in dir unless it is there already. What was begun and
// not finished is never seen: the layout is renamed into place.
func (c *Cache) ensure(dir string, write func(layout.Path) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	defer os.RemoveAll(partial)
	l, err := newLayout(partial)
	if err != nil {
		return err
	}
	if err := write(l); err != nil {
		return err
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return nil
}

// cook writes the image of a recipe.
func (c *Cache) cook(ctx context.Context, recipe Recipe, l layout.Path) (err error) {
	work, err := os.MkdirTemp("", "ladle-image-")
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	defer os.RemoveAll(work)
	var closers []io.Closer
	defer func() {
		for _, closer := range closers {
			err = errors.Join(err, closer.Close())
		}
	}()
	layers, err := recipe.Layers(Env{Context: ctx, Name: recipe.Name, Dir: work, Log: c.log, closers: &closers})
	if err != nil {
		return err
	}
	var blobs []blob
	for i, layer := range layers {
		if len(layers) <= 8 {
			c.log("%s: writing layer %d of %d", recipe.Name, i+1, len(layers))
		}
		b, err := writeGzip(ctx, l, layer)
		if err != nil {
			return err
		}
		blobs = append(blobs, b)
	}
	_, err = appendImage(l, recipe.Config, blobs, nil)
	return err
}

func (c *Cache) log(format string, args ...any) {
	if c.Log != nil {
		c.Log(format, args...)
	}
}

// lock takes the lock of a file, waiting for other processes.
func lock(name string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("image: lock %s: %w", name, err)
	}
	return func() { f.Close() }, nil
}
