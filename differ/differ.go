package differ

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// Options say what a Differ works with. All are needed.
type Options struct {
	// Root is the directory in which snapshots are mounted to be compared. It is made if it
	// is not there. No other process uses it.
	Root   string
	Trees  Trees
	Layers Layers
	// Content and Leases are those of the containerd that calls.
	Content content.Store
	Leases  leases.Manager
}

// Trees knows the mounted trees.
type Trees interface {
	// Shown returns what the tree shows that is mounted at path; ok is false if there is
	// none. path may lead through symbolic links, but does not end with one.
	Shown(path string) (spec store.Spec, ok bool)
}

// Layers opens layers of the store without network, as *layer.Set does. The caller closes
// them.
type Layers interface {
	Layer(id store.ID) (*layer.Layer, error)
}

// Differ implements diff.Comparer. It may be used concurrently.
type Differ struct {
	opts Options
}

var _ diff.Comparer = (*Differ)(nil)

// New returns a Differ. It unmounts what a killed process left in opts.Root.
func New(opts Options) (*Differ, error) {
	if opts.Root == "" || opts.Trees == nil || opts.Layers == nil || opts.Content == nil || opts.Leases == nil {
		return nil, errors.New("differ: all options are needed")
	}
	if err := emptyMounts(opts.Root); err != nil {
		return nil, fmt.Errorf("differ: %w", err)
	}
	return &Differ{opts}, nil
}

// Compare stores a layer of what upper has and lower has not. The error is ErrNotImplemented
// if that is left to another differ: see the package comment.
func (d *Differ) Compare(ctx context.Context, lower, upper []mount.Mount, opts ...diff.Opt) (ocispec.Descriptor, error) {
	desc, err := d.compare(ctx, lower, upper, opts)
	if errors.Is(err, unix.ENAMETOOLONG) {
		// Another differ may have a shorter path to its mounts.
		err = fmt.Errorf("%w: %w", errdefs.ErrNotImplemented, err)
	}
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("differ: %w", err)
	}
	return desc, nil
}

func (d *Differ) compare(ctx context.Context, lower, upper []mount.Mount, opts []diff.Opt) (desc ocispec.Descriptor, err error) {
	p, ok := d.pairOf(lower, upper)
	if !ok {
		return desc, fmt.Errorf("no snapshot with lazily read layers and its parent: %w", errdefs.ErrNotImplemented)
	}
	var config diff.Config
	for _, opt := range opts {
		if err := opt(&config); err != nil {
			return desc, err
		}
	}
	b := blob{content: d.opts.Content, leases: d.opts.Leases, ref: config.Reference, labels: config.Labels}
	if err := b.setMediaType(config); err != nil {
		return desc, err
	}
	err = d.mounted(p.lower, func(lowerRoot string) error {
		return d.mounted(p.upper, func(upperRoot string) error {
			desc, err = b.write(ctx, func(w io.Writer) error {
				return d.writeTar(ctx, w, p, sides{lowerRoot, upperRoot}, tarOptions(config))
			})
			return err
		})
	})
	return desc, err
}

func tarOptions(config diff.Config) []archive.ChangeWriterOpt {
	if config.SourceDateEpoch == nil {
		return nil
	}
	return []archive.ChangeWriterOpt{archive.WithModTimeUpperBound(*config.SourceDateEpoch)}
}

// writeTar writes the tar of what the side upper of p has and lower has not.
func (d *Differ) writeTar(ctx context.Context, w io.Writer, p pair, at sides, opts []archive.ChangeWriterOpt) error {
	tar := archive.NewChangeWriter(w, at.upper, opts...)
	walk := walk{
		ctx: ctx, pair: p, sides: at, change: tar.HandleChange,
		contents: contents{d.opts.Layers, p.below}, numbers: numbers{},
	}
	if err := walk.dir(place{path: "/", top: p.top, inLower: true}); err != nil {
		return err
	}
	if err := d.stillShown(p); err != nil {
		return err
	}
	return tar.Close()
}
