package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/layer"
)

const (
	// maxPulled bounds the pulled images that wait until their layers are looked at.
	maxPulled = 64

	// pulledTimeout bounds the reading of the manifests of one.
	pulledTimeout = time.Minute
)

// sourcesOf returns a function that is told of images that CRI has pulled with a login. Their
// layers are fetched from them from then on, in the background: of a layer whose snapshot
// exists containerd does not tell ladle that another image has it, which may be the only one
// that can be read now.
func (d *daemon) sourcesOf(ctx context.Context) (pulled func(image string)) {
	// The goroutine runs until the daemon stops; ctx is that of the start.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	images, ended := make(chan string, maxPulled), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case image := <-images:
				if err := d.addSource(ctx, image); err != nil && ctx.Err() == nil {
					log.G(ctx).WithError(err).WithField("image", image).Warn("a pulled image is not a source of layers that another one has, too")
				}
			}
		}
	}()
	d.open.add("sources of layers", func(context.Context) error {
		cancel()
		<-ended
		return nil
	})
	return func(image string) {
		select {
		case images <- image:
		default: // the next pull of the image tells again
		}
	}
}

// addSource makes an image a source of its layers that are not all local, and have none in its
// repository.
func (d *daemon) addSource(ctx context.Context, image string) error {
	lacking := withoutSource(d.layers.Unfinished(), repositoryOf(image))
	if len(lacking) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pulledTimeout)
	defer cancel()
	ref, err := depot.Parse(image)
	if err != nil {
		return err
	}
	found, err := imagesOfMachine(ctx, depot.Depot{Client: d.registries.client}, ref)
	if err != nil {
		return err
	}
	for _, img := range found {
		for _, l := range img.Manifest.Layers {
			if !slices.ContainsFunc(lacking, func(u layer.Unfinished) bool { return u.Blob == l.Digest }) {
				continue
			}
			if err := d.layers.AddSource(l.Digest, image); err != nil {
				return err
			}
			log.G(ctx).WithField("layer", l.Digest).WithField("image", image).Info("a layer is fetched from an image that was pulled later")
		}
	}
	return nil
}

// withoutSource returns those of all that have no image of a repository.
func withoutSource(all []layer.Unfinished, repository string) []layer.Unfinished {
	return slices.DeleteFunc(all, func(u layer.Unfinished) bool {
		return slices.ContainsFunc(u.Images, func(image string) bool {
			rest, ok := strings.CutPrefix(image, repository)
			return ok && (rest == "" || rest[0] == ':' || rest[0] == '@')
		})
	})
}
