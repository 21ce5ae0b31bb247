package install

import (
	"context"
	"fmt"
	"slices"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	contents "github.com/containerd/containerd/api/services/content/v1"
	images "github.com/containerd/containerd/api/services/images/v1"
	spaces "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	corecontent "github.com/containerd/containerd/v2/core/content"
	contentproxy "github.com/containerd/containerd/v2/core/content/proxy"
	coreimages "github.com/containerd/containerd/v2/core/images"
	core "github.com/containerd/containerd/v2/core/snapshots"
	snapshotproxy "github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
)

// used is what of containerd's is on ladle, as "NAMESPACE/NAME".
type used struct {
	containers []string
	images     []string // that another snapshotter has not, and cannot unpack
}

// usage asks containerd. Other is the other snapshotter.
func usage(ctx context.Context, containerd, other string) (used, error) {
	var u used
	if other == "" {
		other = "overlayfs"
	}
	conn, err := dial(containerd)
	if err != nil {
		return u, err
	}
	defer conn.Close()
	reply, err := spaces.NewNamespacesClient(conn).List(ctx, &spaces.ListNamespacesRequest{})
	if err != nil {
		return u, fmt.Errorf("containerd at %s does not answer: %w", containerd, err)
	}
	for _, ns := range reply.Namespaces {
		if err := u.add(namespaces.WithNamespace(ctx, ns.Name), conn, ns.Name, other); err != nil {
			return u, err
		}
	}
	slices.Sort(u.containers)
	slices.Sort(u.images)
	return u, nil
}

func (u *used) add(ctx context.Context, conn *grpc.ClientConn, space, other string) error {
	all, err := containers.NewContainersClient(conn).List(ctx, &containers.ListContainersRequest{})
	if err != nil {
		return err
	}
	for _, c := range all.Containers {
		if c.Snapshotter == Name { // no filter can say so
			u.containers = append(u.containers, space+"/"+c.ID)
		}
	}
	present, err := images.NewImagesClient(conn).List(ctx, &images.ListImagesRequest{})
	if err != nil {
		return err
	}
	s := stock{
		content:   contentproxy.NewContentStore(contents.NewContentClient(conn)),
		snapshots: snapshotproxy.NewSnapshotter(snapshots.NewSnapshotsClient(conn), other),
	}
	for _, img := range present.Images {
		target := ocispec.Descriptor{MediaType: img.Target.MediaType, Digest: digest.Digest(img.Target.Digest), Size: img.Target.Size}
		err := s.has(ctx, target)
		if errdefs.IsNotFound(err) {
			u.images = append(u.images, space+"/"+img.Name)
		} else if err != nil {
			return fmt.Errorf("%s: %w", img.Name, err)
		}
	}
	return nil
}

// stock is what containerd has without ladle.
type stock struct {
	content   corecontent.Store
	snapshots core.Snapshotter
}

// has returns an error for which errdefs.IsNotFound is true if neither the snapshots of an image
// for this machine are there, nor all layers that they could be unpacked from.
func (s stock) has(ctx context.Context, target ocispec.Descriptor) error {
	manifest, err := coreimages.Manifest(ctx, s.content, target, platforms.Default())
	if err != nil {
		return err
	}
	diffIDs, err := coreimages.RootFS(ctx, s.content, manifest.Config)
	if err != nil {
		return err
	}
	if _, err := s.snapshots.Stat(ctx, identity.ChainID(diffIDs).String()); err == nil {
		return nil
	} else if !errdefs.IsNotFound(err) {
		return err
	}
	for _, layer := range manifest.Layers {
		if _, err := s.content.Info(ctx, layer.Digest); err != nil {
			return err
		}
	}
	return nil
}
