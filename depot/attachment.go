package depot

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
)

// registryAttachment puts artifacts into the repository of an image.
type registryAttachment struct {
	registryTarget // of which only the repository counts
	client         *fetch.Client
}

func attachInRegistry(ref Reference, d Depot) (*registryAttachment, error) {
	spec, err := reference.Parse(ref.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return &registryAttachment{registryTarget{d.Push, spec}, d.Client}, nil
}

// Attach implements Attachment.
func (a *registryAttachment) Attach(ctx context.Context, artifact Document, subject digest.Digest) error {
	if err := a.Put(ctx, artifact.Descriptor, nil, Bytes(artifact.Bytes)); err != nil {
		return err
	}
	list, api, err := a.client.Referrers(ctx, a.spec.String(), subject)
	if err != nil || api {
		return err
	}
	tag := a.registryTarget
	tag.spec.Object = fetch.ReferrersTag(subject)
	return addReferrer(ctx, &tag, list, artifact)
}

// addReferrer adds an artifact to the list that a target names.
func addReferrer(ctx context.Context, to Target, list []byte, artifact Document) error {
	b, err := index.AddReferrer(list, artifact.Descriptor)
	if err != nil {
		return err
	}
	d, err := newDocument(b, "")
	if err != nil {
		return err
	}
	return to.Name(ctx, d)
}

// layoutAttachment puts artifacts into an OCI image layout.
type layoutAttachment struct{ layoutTarget }

func attachToLayout(ref Reference) (*layoutAttachment, error) {
	if _, err := os.Stat(ref.Layout); err != nil {
		return nil, err
	}
	ref.Name = "referrers" // each artifact has a tag of its own
	t, err := createLayout(ref)
	if err != nil {
		return nil, err
	}
	return &layoutAttachment{*t}, nil
}

// Attach implements Attachment.
func (a *layoutAttachment) Attach(ctx context.Context, artifact Document, subject digest.Digest) error {
	if err := a.Put(ctx, artifact.Descriptor, nil, Bytes(artifact.Bytes)); err != nil {
		return err
	}
	origin, err := openLayout(a.Reference)
	if err != nil {
		return err
	}
	list, err := origin.referrers(ctx, subject)
	if err != nil {
		return err
	}
	return addReferrer(ctx, &layoutTarget{Reference{a.Layout, fetch.ReferrersTag(subject)}}, list, artifact)
}
