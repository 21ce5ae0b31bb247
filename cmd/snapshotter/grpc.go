package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"google.golang.org/grpc"

	"github.com/ladle-dev/ladle/metrics"
)

// server is one endpoint's gRPC server.
type server struct {
	grpc     *grpc.Server
	listener net.Listener
}

func newServer(l net.Listener, sn snapshots.Snapshotter, calls *metrics.Calls) *server {
	s := grpc.NewServer(
		// Labels of layers can be long; containerd's own limits.
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		grpc.UnaryInterceptor(unaryInterceptor(calls)),
		grpc.StreamInterceptor(streamInterceptor(calls)),
	)
	snapshotsapi.RegisterSnapshotsServer(s, snapshotservice.FromSnapshotter(sn))
	return &server{s, l}
}

// serve answers calls until drain.
func (s *server) serve() error {
	if err := s.grpc.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("endpoint %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// drain takes no more calls and waits until those under way are answered; when
// ctx ends, or after drainTimeout, it cuts them off.
func (s *server) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, s.grpc.Stop)
	defer stop()
	s.grpc.GracefulStop()
	return nil
}
