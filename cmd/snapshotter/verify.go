package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ladle-dev/ladle/control"
	"github.com/ladle-dev/ladle/depot"
	"github.com/ladle-dev/ladle/snapshot"
	"github.com/ladle-dev/ladle/store"
)

// VerifyPull implements control.Service. A client takes a snapshot for a layer of an image if
// it has the chain ID that the image claims. So the snapshot has to be made of the same blob,
// or to be proved.
func (a *answers) VerifyPull(ctx context.Context, req *control.VerifyRequest) (*control.Verdict, error) {
	doubtful, err := a.doubtful(ctx)
	if err != nil {
		return nil, err
	}
	if len(doubtful) == 0 {
		return &control.Verdict{Allowed: true, Reason: "all layers that are served are proved"}, nil
	}
	if len(req.Layers) == 0 && req.Image == nil {
		return &control.Verdict{Reason: fmt.Sprintf("%d layers that are served are not proved", len(doubtful))}, nil
	}
	if deadline, ok := ctx.Deadline(); ok { // an answer that comes in time says more than an error
		var cancel func()
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/10))
		defer cancel()
	}
	layers := req.Layers
	if req.Image != nil {
		if layers, err = claimedLayers(ctx, depot.Depot{Client: a.registries.client}, *req.Image); err != nil {
			return &control.Verdict{Reason: fmt.Sprintf("%d layers that are served are not proved, and the image cannot be read: %v", len(doubtful), err)}, nil
		}
	}
	for _, l := range layers {
		for _, d := range doubtful {
			if d.Chain != l.Chain {
				continue
			}
			if why := a.refusal(ctx, l, d); why != "" {
				return &control.Verdict{Reason: why}, nil
			}
		}
	}
	return &control.Verdict{Allowed: true, Reason: "no layer that is served is taken for another one"}, nil
}

func (a *answers) doubtful(ctx context.Context) (all []snapshot.Doubtful, err error) {
	for name, e := range a.endpoints {
		sn, ok := e.(*snapshot.Snapshotter)
		if !ok {
			return nil, fmt.Errorf("endpoint %s is a %T", name, e)
		}
		of, err := sn.Doubtful(ctx)
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", name, err)
		}
		all = append(all, of...)
	}
	return all, nil
}

// refusal says why an image with the layer l must not be pulled, which is taken to be that of
// the snapshot d. It is empty if it may be.
func (a *answers) refusal(ctx context.Context, l control.ClaimedLayer, d snapshot.Doubtful) string {
	proof := a.layers.Proof(d.Layer)
	own := d.Layer.Blob == l.Blob && (l.TOC == "" || l.TOC == d.Layer.TOC)
	if own && proof == (store.Proof{}) {
		return "" // it is what the image has, whatever it claims
	}
	proof, err := a.layers.Prove(ctx, d.Layer)
	switch {
	case proof.Wrong != "":
		return fmt.Sprintf("layer %s is served from blob %s of image %s, which does not have what it shows: remove that image first. %s",
			l.Chain, d.Layer.Blob, d.Image, proof.Wrong)
	case proof.DiffID != "" && d.Proves(proof.DiffID):
		return ""
	case proof.DiffID != "" && own:
		return fmt.Sprintf("the image claims that layer %s is another one: its diffID is %s", l.Blob, proof.DiffID)
	case proof.DiffID != "":
		return fmt.Sprintf("layer %s is served from image %s, which claimed it and does not have it: remove that image first. Its layer %s has the diffID %s",
			l.Chain, d.Image, d.Layer.Blob, proof.DiffID)
	}
	return fmt.Sprintf("layer %s is served from another blob, %s of image %s, which is not proved yet: try again. %v", l.Chain, d.Layer.Blob, d.Image, err)
}
