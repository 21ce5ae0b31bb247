package control_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ladle-dev/ladle/control"
)

// service answers with what it has.
type service struct {
	status  *control.Status
	verdict *control.Verdict
	err     error
}

func (s service) Status(context.Context, *control.StatusRequest) (*control.Status, error) {
	return s.status, s.err
}

func (s service) VerifyPull(_ context.Context, req *control.VerifyRequest) (*control.Verdict, error) {
	if len(req.Layers) != 1 || req.Layers[0].Chain != "sha256:1" || s.err != nil {
		return nil, s.err
	}
	return s.verdict, nil
}

func (s service) Explain(_ context.Context, req *control.ExplainRequest) (*control.Explanation, error) {
	return &control.Explanation{Schema: 1, Image: req.Image}, s.err
}

// serve serves s until the test ends.
func serve(t *testing.T, s control.Service, opts ...grpc.ServerOption) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "c.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := control.NewServer(s, opts...)
	go func() { _ = server.Serve(l) }() // until Stop
	t.Cleanup(server.Stop)
	return socket
}

func dial(t *testing.T, socket string) *control.Client {
	t.Helper()
	c, err := control.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestStatus(t *testing.T) {
	began := time.Unix(1e9, 5).UTC()
	want := &control.Status{Schema: 1, Imports: []control.Import{{Image: "a", Size: 10, Done: 5, Since: &began}}}
	seen := ""
	socket := serve(t, service{status: want}, grpc.UnaryInterceptor(
		func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			seen = info.FullMethod
			return next(ctx, req)
		}))
	got, err := dial(t, socket).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Schema != 1 || len(got.Imports) != 1 || got.Imports[0].Done != 5 || !got.Imports[0].Since.Equal(began) {
		t.Errorf("status %+v", got)
	}
	if seen != "/ladle.control.v1.Control/Status" {
		t.Errorf("the interceptor has seen %q", seen)
	}
	if rate := got.Imports[0].Rate(began.Add(time.Second / 2)); rate != 10 {
		t.Errorf("%d bytes a second", rate)
	}
}

func TestError(t *testing.T) {
	socket := serve(t, service{err: status.Error(codes.NotFound, "there is none")})
	if _, err := dial(t, socket).Status(t.Context()); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}

func TestNotRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, path + "-none"} {
		if _, err := control.Dial(t.Context(), path); !errors.Is(err, control.ErrNotRunning) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestVerifyPull(t *testing.T) {
	socket := serve(t, service{verdict: &control.Verdict{Allowed: true, Reason: "why not"}})
	got, err := dial(t, socket).VerifyPull(t.Context(), &control.VerifyRequest{Layers: []control.ClaimedLayer{{Chain: "sha256:1"}}})
	if err != nil || !got.Allowed || got.Reason != "why not" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestExplain(t *testing.T) {
	got, err := dial(t, serve(t, service{})).Explain(t.Context(), &control.ExplainRequest{Image: "registry.example/a:1"})
	if err != nil || got.Image != "registry.example/a:1" {
		t.Errorf("%+v, %v", got, err)
	}
}
