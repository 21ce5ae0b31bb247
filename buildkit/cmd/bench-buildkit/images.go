package main

import (
	"context"
	"os/exec"

	"github.com/ladle-dev/ladle/buildkit/registry"
	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/place"
)

// picture is an image: a recipe's, or its lowest layers.
type picture struct {
	recipe string
	format image.Format
	layers int // how many of them; 0 for all
}

// ref is the repository:tag of an image, which is made and pushed if it is not
// there.
func (b bench) ref(ctx context.Context, p picture) (string, error) {
	if ref, ok := b.pushed[p]; ok {
		return ref, nil
	}
	ref, err := b.pushNew(ctx, p)
	if err == nil {
		b.pushed[p] = ref
	}
	return ref, err
}

func (b bench) pushNew(ctx context.Context, p picture) (string, error) {
	if p.layers > 0 {
		whole, err := b.ref(ctx, picture{recipe: p.recipe, format: p.format})
		if err != nil {
			return "", err
		}
		return registry.PushLowest(ctx, b.registry.Addr, whole, p.layers)
	}
	img, err := b.cache.Image(ctx, p.recipe, p.format)
	if err != nil {
		return "", err
	}
	return b.registry.Push(ctx, img)
}

// graph is the definition of a graph, whose base is a recipe's image, with
// images behind a link.
func (b bench) graph(ctx context.Context, name, base, link string, f image.Format) ([]byte, error) {
	program, err := place.Component("graphs")
	if err != nil {
		return nil, err
	}
	args := []string{name}
	for source, p := range map[string]picture{
		"tools": {base, f, 0}, "base": {base, f, 0}, "lowest": {base, f, 1}, "below": {base, f, 2},
		"wide": {"hostile-wide", f, 0}, "other": {b.recipe, f, 1},
	} {
		ref, err := b.ref(ctx, p)
		if err != nil {
			return nil, err
		}
		args = append(args, source+"="+link+"/"+ref)
	}
	return exec.CommandContext(ctx, program, args...).Output()
}
