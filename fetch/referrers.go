package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/opencontainers/go-digest"
)

// Referrers returns the list of the manifests that refer to the manifest subject in the
// repository of ref: the index with which the registry answers (OCI distribution
// specification 1.1, "Listing Referrers"), or the one that has the tag of
// ReferrersTag, where registries without that API have it. The list is nil if there is
// none. Api reports whether the registry has the API.
//
// It asks for both at the same time, and so takes one round trip. Nothing of the list is
// verified. Errors are those of Range.
func (c *Client) Referrers(ctx context.Context, ref string, subject digest.Digest) (list []byte, api bool, err error) {
	img, err := parse(ref)
	if err == nil {
		err = subject.Validate()
	}
	if err != nil {
		return nil, false, blobError(subject, "referrers", err)
	}
	var answered, tagged []byte
	var apiErr, tagErr error
	var both sync.WaitGroup
	both.Go(func() {
		answered, apiErr = c.small(ctx, ref, "/referrers/"+string(subject), docker.HostCapabilityPull|docker.HostCapabilityResolve, "")
	})
	both.Go(func() { tagged, _, tagErr = c.ManifestByTag(ctx, img.Locator+":"+ReferrersTag(subject)) })
	both.Wait()
	switch {
	case apiErr == nil:
		return answered, true, nil
	case tagErr == nil:
		return tagged, false, nil
	}
	for _, err := range []error{apiErr, tagErr} {
		if !errors.Is(err, ErrNotFound) {
			return nil, false, blobError(subject, "referrers", err)
		}
	}
	return nil, false, nil
}

// ReferrersTag returns the tag of the list of what refers to a manifest (OCI distribution
// specification 1.1, "Referrers Tag Schema").
func ReferrersTag(subject digest.Digest) string {
	algorithm, encoded, _ := strings.Cut(string(subject), ":")
	return fmt.Sprintf("%.32s-%.64s", algorithm, encoded)
}
