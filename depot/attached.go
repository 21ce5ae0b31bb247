package depot

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/index"
)

// Attached returns the manifests of the artifacts with indexes that refer to the image with
// the manifest image, verified, as far as they are there.
func Attached(ctx context.Context, o Origin, image digest.Digest) ([]Document, error) {
	referring, ok := o.(interface {
		// referrers returns the list of what refers to a manifest; nil: there is none.
		referrers(ctx context.Context, subject digest.Digest) ([]byte, error)
	})
	if !ok {
		return nil, nil
	}
	list, err := referring.referrers(ctx, image)
	if err != nil || list == nil {
		return nil, err
	}
	found, err := index.ReadReferrers(list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", image, err)
	}
	var all []Document
	for _, desc := range found {
		d, err := o.Manifest(ctx, desc)
		if errors.Is(err, fetch.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			continue // it was deleted
		}
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (o registryOrigin) referrers(ctx context.Context, subject digest.Digest) ([]byte, error) {
	list, _, err := o.client.Referrers(ctx, o.ref, subject)
	return list, err
}

func (o *layoutOrigin) referrers(_ context.Context, subject digest.Digest) ([]byte, error) {
	desc, err := o.find(fetch.ReferrersTag(subject))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Layout, err)
	}
	d, err := o.document(desc.Digest)
	return d.Bytes, err
}
