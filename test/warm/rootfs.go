package warm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/leases"
	leasesproxy "github.com/containerd/containerd/v2/core/leases/proxy"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ladle-dev/ladle/test/image"
	"github.com/ladle-dev/ladle/test/stack"
)

// containerd is a connection to a node's containerd.
type containerd struct {
	conn      *grpc.ClientConn
	snapshots snapshotsapi.SnapshotsClient
	leases    leases.Manager
	dir       string // for mount points
}

func connect(n *stack.Node) (*containerd, error) {
	conn, err := grpc.NewClient("unix://"+n.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("warm: %w", err)
	}
	return &containerd{
		conn:      conn,
		snapshots: snapshotsapi.NewSnapshotsClient(conn),
		leases:    leasesproxy.NewLeaseManager(leasesapi.NewLeasesClient(conn)),
		dir:       n.Dir,
	}, nil
}

// rootfs is a mounted root filesystem.
type rootfs struct {
	subject string
	path    string
	// prepared and mounted are how long Prepare and mount(2) took.
	prepared, mounted time.Duration
	close             func(context.Context) error
}

// rootfs prepares and mounts a root filesystem of a pulled image. The caller
// closes it. What a daemon mounts for it is then unmounted: containerd has the
// snapshot removed when its lease ends, and by then it was.
func (c *containerd) rootfs(ctx context.Context, subject string, img *image.Image) (_ *rootfs, err error) {
	parent, err := topSnapshot(img)
	if err != nil {
		return nil, err
	}
	ctx = namespaces.WithNamespace(ctx, namespaces.Default)
	lease, err := c.leases.Create(ctx, leases.WithRandomID())
	if err != nil {
		return nil, fmt.Errorf("warm: %w", err)
	}
	key := "rootfs-" + rand.Text()
	r := &rootfs{subject: subject, path: filepath.Join(c.dir, key)}
	s := proxy.NewSnapshotter(c.snapshots, subject)
	r.close = func(ctx context.Context) error {
		ctx = namespaces.WithNamespace(ctx, namespaces.Default)
		return errors.Join(mount.UnmountAll(r.path, 0), os.RemoveAll(r.path),
			c.leases.Delete(ctx, lease, leases.SynchronousDelete))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("warm: %s: %w", subject, errors.Join(err, r.close(context.WithoutCancel(ctx))))
		}
	}()
	if err := os.Mkdir(r.path, 0o700); err != nil {
		return nil, err
	}
	began := time.Now()
	mounts, err := s.Prepare(leases.WithLease(ctx, lease.ID), key, parent)
	r.prepared = time.Since(began)
	if err != nil {
		return nil, err
	}
	began = time.Now()
	err = mount.All(mounts, r.path)
	r.mounted = time.Since(began)
	return r, err
}

// topSnapshot is the name that containerd gives to the snapshot of an image's
// topmost layer.
func topSnapshot(img *image.Image) (string, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return "", fmt.Errorf("warm: %s: %w", img.Name, err)
	}
	var diffIDs []digest.Digest
	for _, d := range config.RootFS.DiffIDs {
		diffIDs = append(diffIDs, digest.Digest(d.String()))
	}
	return identity.ChainID(diffIDs).String(), nil
}
