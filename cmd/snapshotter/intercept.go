package main

import (
	"context"
	"path"
	"time"

	"github.com/containerd/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ladle-dev/ladle/metrics"
)

func unaryInterceptor(calls *metrics.Calls) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		start := time.Now()
		ctx = withMethod(ctx, info.FullMethod)
		resp, err := next(ctx, req)
		called(ctx, calls, info.FullMethod, start, err)
		return resp, err
	}
}

func streamInterceptor(calls *metrics.Calls) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		start := time.Now()
		ctx := withMethod(stream.Context(), info.FullMethod)
		err := next(srv, &loggedStream{stream, ctx})
		called(ctx, calls, info.FullMethod, start, err)
		return err
	}
}

// loggedStream is a stream with the method in the log fields of its context.
type loggedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *loggedStream) Context() context.Context { return s.ctx }

func withMethod(ctx context.Context, full string) context.Context {
	return log.WithLogger(ctx, log.G(ctx).WithField("method", path.Base(full)))
}

// called counts a call and logs its outcome. The error is logged although the client gets it
// as well: clients show little of it to their users, and operators read this log.
func called(ctx context.Context, calls *metrics.Calls, full string, start time.Time, err error) {
	took := time.Since(start)
	code := status.Code(err)
	calls.Done(path.Base(full), code, took)
	entry := log.G(ctx).WithField("took", took)
	switch code {
	case codes.OK:
		entry.Debug("gRPC call answered")
	case codes.AlreadyExists, codes.NotFound, codes.Canceled, codes.Unimplemented:
		// AlreadyExists is how Prepare says that a layer is lazy, Unimplemented how the diff
		// service leaves a call to another differ.
		entry.WithError(err).Debug("gRPC call answered")
	default:
		entry.WithError(err).Warn("gRPC call failed")
	}
}
