package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	imageref "github.com/containerd/containerd/v2/pkg/reference"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/control"
	"github.com/ladle-dev/ladle/fetch"
)

const (
	// tryTimeout bounds the attempt to read a layer.
	tryTimeout = 10 * time.Second

	// maxTries is how many layers are tried at the same time.
	maxTries = 4
)

// registries is what the daemon knows of registries.
type registries struct {
	credentials
	client *fetch.Client
	denied *denials
}

// Explain implements control.Service.
func (a *answers) Explain(ctx context.Context, req *control.ExplainRequest) (*control.Explanation, error) {
	image, err := imageref.Parse(req.Image)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "image reference %q: %v", req.Image, err)
	}
	repository, hosts, err := a.registries.client.Repository(ctx, req.Image)
	if err != nil {
		return nil, err
	}
	out := &control.Explanation{Schema: 1, Image: req.Image, Repository: repository, Hosts: []control.ExplainedHost{}}
	out.Layers = a.explainLayers(ctx, image)
	// Now it is known what the hosts refuse.
	for _, host := range hosts {
		h := control.ExplainedHost{Host: host, Answers: []control.ExplainedAnswer{}}
		for _, answer := range a.registries.sources.Ask(ctx, auth.Challenge{Host: host, Repository: repository}) {
			e := control.ExplainedAnswer{Source: answer.Source, Result: string(answer.Result)}
			if answer.Err != nil {
				e.Reason = answer.Err.Error()
			}
			if !answer.Until.IsZero() {
				e.Until = &answer.Until
			}
			h.Answers = append(h.Answers, e)
		}
		out.Hosts = append(out.Hosts, h)
	}
	return out, nil
}

// explainLayers has the layers of an image that this node has, and those that could not be
// opened for want of credentials. It tries to read what is not on the node.
func (a *answers) explainLayers(ctx context.Context, image imageref.Spec) []control.ExplainedLayer {
	all := []control.ExplainedLayer{}
	for _, id := range a.store.Layers() {
		st, err := a.store.Stock(id)
		if err != nil {
			continue // it was removed meanwhile
		}
		if i := slices.IndexFunc(st.Sources, func(s string) bool { return isImage(s, image) }); i >= 0 {
			all = append(all, control.ExplainedLayer{Layer: id.Blob, State: control.LayerFull, Chunks: st.Chunks, Present: st.Present})
		}
	}
	var tries errgroup.Group
	tries.SetLimit(maxTries)
	for i := range all {
		if l := &all[i]; l.Present < l.Chunks {
			tries.Go(func() error { a.try(ctx, l, image); return nil })
		}
	}
	_ = tries.Wait() // none of them fails
	for _, d := range a.registries.denied.list() {
		if isImage(d.Ref, image) && !slices.ContainsFunc(all, func(l control.ExplainedLayer) bool { return l.Layer == d.Digest }) {
			all = append(all, control.ExplainedLayer{Layer: d.Digest, State: control.LayerNotLazy, Reason: d.err.Error(), Credentials: true})
		}
	}
	slices.SortStableFunc(all, func(a, b control.ExplainedLayer) int { return cmp.Compare(a.Layer, b.Layer) })
	return all
}

// try reads a byte of a layer from its registry.
func (a *answers) try(ctx context.Context, l *control.ExplainedLayer, image imageref.Spec) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	l.State = control.LayerReadable
	r, err := a.registries.client.Blob(fetch.Source{Ref: image.String(), Digest: l.Layer}).Range(ctx, 0, 1)
	if err == nil {
		_ = r.Close() // it was read from, nothing was written
		return
	}
	l.State, l.Reason, l.Credentials = control.LayerUnreadable, err.Error(), errors.Is(err, fetch.ErrUnauthorized)
}

// isImage reports whether ref is a reference to image: of the same repository, with the same
// tag or digest.
func isImage(ref string, image imageref.Spec) bool {
	spec, err := imageref.Parse(ref)
	if err != nil || spec.Locator != image.Locator {
		return false
	}
	if spec.Digest() != "" && image.Digest() != "" {
		return spec.Digest() == image.Digest()
	}
	tag, _, _ := strings.Cut(spec.Object, "@")
	want, _, _ := strings.Cut(image.Object, "@")
	return tag == want && tag != ""
}
