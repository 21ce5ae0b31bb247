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
		// Labels of layers can be long. The limits are those of containerd.
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
		grpc.UnaryInterceptor(unaryInterceptor(calls)),
		grpc.StreamInterceptor(streamInterceptor(calls)),
	)
	snapshotsapi.RegisterSnapshotsServer(s, snapshotservice.FromSnapshotter(sn))
	return &server{s, l}
}

// serve answers calls until drain is called.
func (s *server) serve() error {
	if err := s.grpc.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("endpoint %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// drain accepts no more calls, and waits for the calls in progress. When ctx ends, or after
// drainTimeout, it aborts them.
func (s *server) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, s.grpc.Stop)
	defer stop()
	s.grpc.GracefulStop()
	return nil
}
