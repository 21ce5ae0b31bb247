package main

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/snapshot"
	"github.com/ladle-dev/ladle/store"
)

// maxDenials is how many layers are remembered that could not be opened.
const maxDenials = 200

// denials are layers, and remember those that could not be opened because a registry refused
// the credentials, or wanted some and there were none.
type denials struct {
	snapshot.Layers

	mu struct {
		sync.Mutex
		all []denial // the newest last
	}
}

type denial struct {
	fetch.Source
	err error
}

// Open implements snapshot.Layers.
func (d *denials) Open(ctx context.Context, req layer.Request) (store.ID, error) {
	id, err := d.Layers.Open(ctx, req)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.all = slices.DeleteFunc(d.mu.all, func(o denial) bool { return o.Source == req.Source })
	if errors.Is(err, fetch.ErrUnauthorized) {
		if len(d.mu.all) == maxDenials {
			d.mu.all = slices.Delete(d.mu.all, 0, 1)
		}
		d.mu.all = append(d.mu.all, denial{req.Source, err})
	}
	return id, err
}

func (d *denials) list() []denial {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.mu.all)
}
