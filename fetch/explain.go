package fetch

import (
	"context"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// Repository returns the repository of an image, "registry/path", and the names of the hosts
// that are asked for its blobs, in their order.
func (c *Client) Repository(ctx context.Context, ref string) (repository string, hosts []string, err error) {
	img, err := parse(ref)
	if err != nil {
		return "", nil, err
	}
	all, err := c.hosts(ctx, img, docker.HostCapabilityPull)
	if err != nil {
		return "", nil, err
	}
	for _, h := range all {
		hosts = append(hosts, h.Host)
	}
	return img.Locator, hosts, nil
}
