package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/store"
)

// mountTree is Trees.Mount. Layers that the store has lost, because their files were found
// damaged, are fetched again for it.
func (s *Snapshotter) mountTree(ctx context.Context, owner string, spec store.Spec) (string, error) {
	path, err := s.opts.Trees.Mount(ctx, owner, spec)
	// One layer after the other may turn out to be damaged.
	for range spec.All() {
		if !errors.Is(err, store.ErrNotFound) {
			break
		}
		if again := s.fetchAgain(ctx, spec.All()); again != nil {
			return "", fmt.Errorf("%w: %w", err, again)
		}
		path, err = s.opts.Trees.Mount(ctx, owner, spec)
	}
	return path, err
}

// fetchAgain opens layers, which snapshots claim, so that they are in the store again.
func (s *Snapshotter) fetchAgain(ctx context.Context, layers []store.ID) error {
	images, err := s.imagesOf(ctx)
	if err != nil {
		return err
	}
	ctx, importing, cancel := s.openContext(ctx)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(parallelMounts)
	for _, id := range layers {
		group.Go(func() error { return s.openAgain(ctx, id, images[id], importing) })
	}
	return group.Wait()
}

// openAgain opens a layer from one of images.
func (s *Snapshotter) openAgain(ctx context.Context, id store.ID, images []string, importing func()) error {
	err := errors.New("no snapshot says of which image it is")
	for _, ref := range images {
		var got store.ID
		got, err = s.opts.Layers.Open(ctx, layer.Request{
			Source: fetch.Source{Ref: ref, Digest: id.Blob}, TOC: id.TOC, Importing: importing,
		})
		if err == nil && got == id {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it has the index %s", got.TOC)
		}
	}
	return fmt.Errorf("layer %s was damaged or lost on disk, and cannot be fetched again from %q, "+
		"which the next call tries again (or remove the image and pull it): %w", id.Blob, images, causeOf(ctx, err))
}

// imagesOf returns the images of which snapshots know that they have a layer.
func (s *Snapshotter) imagesOf(ctx context.Context) (map[store.ID][]string, error) {
	infos, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	images := map[store.ID][]string{}
	for _, info := range infos {
		id, remote := layerOf(info)
		ref := info.Labels[imageLabel]
		if req, _, err := parseRequest(info.Labels); ref == "" && err == nil {
			ref = req.Source.Ref // it was made before there was such a label
		}
		if remote && ref != "" && !slices.Contains(images[id], ref) {
			images[id] = append(images[id], ref)
		}
	}
	return images, nil
}
