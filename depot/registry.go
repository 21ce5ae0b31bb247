package depot

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
)

// registryOrigin is an image in a registry.
type registryOrigin struct {
	client *fetch.Client
	ref    string
}

func (o registryOrigin) Root(ctx context.Context) (Document, error) {
	if _, dgst, ok := strings.Cut(o.ref, "@"); ok {
		return o.Manifest(ctx, ocispec.Descriptor{Digest: digest.Digest(dgst)})
	}
	b, dgst, err := o.client.ManifestByTag(ctx, o.ref)
	if err != nil {
		return Document{}, err
	}
	return o.document(b, dgst)
}

func (o registryOrigin) Manifest(ctx context.Context, desc ocispec.Descriptor) (Document, error) {
	b, err := o.client.Manifest(ctx, o.ref, desc.Digest)
	if err != nil {
		return Document{}, err
	}
	return o.document(b, desc.Digest)
}

func (o registryOrigin) document(b []byte, dgst digest.Digest) (Document, error) {
	d, err := newDocument(b, dgst)
	if err != nil {
		return Document{}, fmt.Errorf("%s: %w", o.ref, err)
	}
	return d, nil
}

func (o registryOrigin) Blob(dgst digest.Digest) Blob {
	return registryBlob{o.client.Blob(fetch.Source{Ref: o.ref, Digest: dgst})}
}

func (o registryOrigin) TOCs(ctx context.Context) ([]byte, error) {
	ref, err := index.ExternalTOCRef(o.ref)
	if err != nil {
		return nil, err
	}
	b, _, err := o.client.ManifestByTag(ctx, ref)
	return b, err
}

func (o registryOrigin) Close() error { return nil }

type registryBlob struct{ *fetch.Blob }

func (b registryBlob) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	r, err := b.Blob.Range(ctx, off, n)
	if err != nil {
		return nil, err // and no *fetch.Reader that is nil
	}
	return r, nil
}
