package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/sametree"
)

// A view, which stacks a tree for each layer, shows what overlayfs shows: for
// the whole image and, since a differ compares those, for its lower layers.
func TestViewsEqualOverlayfs(t *testing.T) {
	l := newLab(t, oneOfEach("")...)
	began := time.Now() // the images share layers
	for recipe, lowest := range map[string]int{"hostile-whiteouts": 1, "debian-python": 3, "twice": 7} {
		ref := l.Push(recipe, image.Gzip)
		l.Pull("overlayfs", ref)
		plain := l.chains(l.image(recipe, image.Gzip))
		lazyRef := l.Push(recipe, image.EStargz)
		lazy := l.chains(l.image(recipe, image.EStargz))
		for n := lowest; n <= len(plain); n++ {
			want := l.listView("overlayfs", plain[n-1])
			for _, driver := range drivers {
				t.Run(fmt.Sprintf("%s/%d/%s", recipe, n, driver), func(t *testing.T) {
					l := l.as(t)
					l.Pull("ladle-"+driver, lazyRef)
					l.same(began, want, l.listView("ladle-"+driver, lazy[n-1]))
				})
			}
		}
	}
}

// chains are the names of the snapshots of an image's layers, lowest first.
func (l lab) chains(img *image.Image) []string {
	l.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		l.Fatal(err)
	}
	var diffIDs []godigest.Digest
	var chains []string
	for _, d := range config.RootFS.DiffIDs {
		diffIDs = append(diffIDs, godigest.Digest(d.String()))
		chains = append(chains, identity.ChainID(diffIDs).String())
	}
	return chains
}

// listView lists what a view of a committed snapshot shows.
func (l lab) listView(snapshotter, parent string) sametree.Listing {
	l.Helper()
	ctx, c := l.client()
	sn := c.SnapshotService(snapshotter)
	mounts, err := sn.View(ctx, "view-of-"+parent, parent)
	if err != nil {
		l.Fatal(err)
	}
	defer l.remove(ctx, sn, "view-of-"+parent)
	return l.listMounted(ctx, mounts, sametree.Options{})
}

func (l lab) remove(ctx context.Context, sn snapshots.Snapshotter, key string) {
	l.Helper()
	if err := sn.Remove(context.WithoutCancel(ctx), key); err != nil && !errdefs.IsNotFound(err) {
		l.Error(err)
	}
}

// listMounted lists what mounts show.
func (l lab) listMounted(ctx context.Context, mounts []mount.Mount, options sametree.Options) sametree.Listing {
	l.Helper()
	began := time.Now()
	var b strings.Builder
	err := mount.WithTempMount(ctx, mounts, func(root string) error {
		return sametree.List(&b, root, options)
	})
	if err != nil {
		l.Fatal(err)
	}
	return l.parse(fmt.Sprintf("mounts of type %s", mounts[0].Type), began, b.String())
}
