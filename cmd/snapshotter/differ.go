package main

import (
	"context"
	"fmt"
	"path/filepath"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/v2/contrib/diffservice"
	"github.com/containerd/containerd/v2/core/content/proxy"
	leasesproxy "github.com/containerd/containerd/v2/core/leases/proxy"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/dialer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/differ"
)

// serveDiffs adds the diff service to the server of an endpoint, if the configuration says
// which containerd the endpoint is for. Without it the server answers that it has none.
func (d *daemon) serveDiffs(e config.Endpoint, srv *server) error {
	if e.Containerd == "" {
		return nil
	}
	conn, err := grpc.NewClient(dialer.DialAddress(e.Containerd),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialer.ContextDialer),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
			grpc.MaxCallSendMsgSize(defaults.DefaultMaxSendMsgSize)))
	if err != nil {
		return fmt.Errorf("containerd at %s: %w", e.Containerd, err)
	}
	d.open.add("connection to containerd of endpoint "+e.Name, func(context.Context) error { return conn.Close() })
	compare, err := differ.New(differ.Options{
		Root:    filepath.Join(d.cfg.Root, "e", e.Name, "diff"),
		Trees:   d.trees,
		Layers:  d.layers,
		Content: proxy.NewContentStore(conn),
		Leases:  leasesproxy.NewLeaseManager(leasesapi.NewLeasesClient(conn)),
	})
	if err != nil {
		return err
	}
	diffapi.RegisterDiffServer(srv.grpc, diffservice.FromApplierAndComparer(nil, compare))
	return nil
}
