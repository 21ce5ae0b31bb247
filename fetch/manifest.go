package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/opencontainers/go-digest"
)

// maxManifest bounds a manifest, in bytes. Registries must accept at least 4 MiB (OCI
// distribution specification, "Pushing Manifests").
const maxManifest = 8 << 20

// manifestTypes are the accepted media types.
var manifestTypes = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"*/*",
}, ", ")

// Manifest fetches the manifest dgst from the repository of ref, and verifies it. Errors
// are those of Range.
func (c *Client) Manifest(ctx context.Context, ref string, dgst digest.Digest) ([]byte, error) {
	if err := dgst.Validate(); err != nil {
		return nil, blobError(dgst, "manifest", err)
	}
	b, err := c.small(ctx, ref, "/manifests/"+string(dgst), docker.HostCapabilityPull, dgst)
	if err != nil {
		return nil, blobError(dgst, "manifest", err)
	}
	return b, nil
}

// ManifestByTag fetches the manifest that the tag of ref, "host/repository:tag", refers
// to, and returns it with its digest. Only hosts with the capability to resolve tags are
// tried.
func (c *Client) ManifestByTag(ctx context.Context, ref string) ([]byte, digest.Digest, error) {
	img, err := parse(ref)
	if err == nil && (img.Object == "" || strings.Contains(img.Object, "@")) {
		err = fmt.Errorf("%q is not a reference with a tag only", ref)
	}
	var b []byte
	if err == nil {
		b, err = c.small(ctx, ref, "/manifests/"+img.Object, docker.HostCapabilityPull|docker.HostCapabilityResolve, "")
	}
	if err != nil {
		return nil, "", fmt.Errorf("fetch manifest of %s: %w", ref, err)
	}
	return b, digest.FromBytes(b), nil
}

// small fetches a small object of the repository of ref by its path there, and verifies that
// it has the digest want, if want is not empty.
func (c *Client) small(ctx context.Context, ref, path string, can docker.HostCapabilities, want digest.Digest) ([]byte, error) {
	img, err := parse(ref)
	if err != nil {
		return nil, err
	}
	hosts, err := c.hosts(ctx, img, can)
	if err != nil {
		return nil, err
	}
	if ctx, err = img.scoped(ctx); err != nil {
		return nil, err
	}
	q := query{img.repo, path, http.Header{"Accept": {manifestTypes}}}
	plan := c.plan(img, hosts, func(*host) time.Time { return time.Time{} })
	for {
		h, err := plan.next(ctx)
		if err != nil {
			return nil, err
		}
		x := c.watched(ctx, h)
		b, err := x.document(q, want)
		x.dog.end()
		if err == nil {
			plan.success()
			return b, nil
		}
		if ctx.Err() == nil {
			plan.failure(err)
		}
	}
}

// document fetches a small object as a whole.
func (x *exchange) document(q query, want digest.Digest) ([]byte, error) {
	resp, a, err := x.ask(q)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp, false, x.host.owns(a.URL))
	}
	defer resp.Body.Close()
	s := x.stream(resp, 0, 0, maxManifest)
	b, err := io.ReadAll(io.LimitReader(watchedBody{s}, maxManifest+1))
	if err != nil {
		return nil, s.broken(err)
	}
	if want == "" {
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	switch {
	case len(b) > maxManifest:
		err = fmt.Errorf("manifest of more than %d bytes", maxManifest)
	case want != "" && want.Validate() != nil:
		err = fmt.Errorf("digest %.80q in header", want)
	case want != "" && want.Algorithm().FromBytes(b) != want:
		err = fmt.Errorf("manifest has not digest %s", want)
	}
	if err != nil {
		return nil, &Error{Op: "GET", Host: a.Host, Status: resp.StatusCode, Kind: ErrUnavailable, Cause: err, final: true}
	}
	return b, nil
}
