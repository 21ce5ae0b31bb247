package main

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/errdefs"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ladle-dev/ladle/internal/waittest"
	"github.com/ladle-dev/ladle/metrics"
)

// slow is a snapshotter whose Mounts takes as long as the test wants.
type slow struct {
	snapshots.Snapshotter
	called chan struct{}
	finish chan struct{}
}

func (s *slow) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	s.called <- struct{}{}
	select {
	case <-s.finish:
		return []mount.Mount{{Type: "bind", Source: key}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *slow) Stat(context.Context, string) (snapshots.Info, error) {
	return snapshots.Info{}, errdefs.ErrNotFound
}

func (s *slow) Walk(ctx context.Context, visit snapshots.WalkFunc, _ ...string) error {
	return visit(ctx, snapshots.Info{Name: "one"})
}

// connect returns a client as containerd makes one.
func connect(t *testing.T, address string) snapshots.Snapshotter {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "ladle")
}

func startSlow(t *testing.T, calls *metrics.Calls) (*server, *slow, snapshots.Snapshotter) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	sn := &slow{called: make(chan struct{}, 1), finish: make(chan struct{})}
	srv := newServer(l, sn, calls)
	served := make(chan error, 1)
	go func() { served <- srv.serve() }()
	t.Cleanup(func() {
		srv.grpc.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return srv, sn, connect(t, path)
}

// TestDrainWaitsForCalls drains while a call is under way: it is answered, and
// no call is taken after it.
func TestDrainWaitsForCalls(t *testing.T) {
	srv, sn, client := startSlow(t, nil)
	answered := make(chan error, 1)
	go func() {
		_, err := client.Mounts(context.Background(), "key")
		answered <- err
	}()
	<-sn.called
	drained := make(chan error, 1)
	go func() { drained <- srv.drain(context.Background()) }()
	select {
	case err := <-drained:
		t.Fatalf("drained with a call under way: %v", err)
	case sn.finish <- struct{}{}:
	}
	if err := <-answered; err != nil {
		t.Errorf("the call ended with %v", err)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	if _, err := client.Stat(t.Context(), "key"); !errdefs.IsUnavailable(err) {
		t.Errorf("a call after drain ended with %v", err)
	}
}

// TestDrainIsBounded drains with a context that is over: the call is cut off.
func TestDrainIsBounded(t *testing.T) {
	srv, sn, client := startSlow(t, nil)
	answered := make(chan error, 1)
	go func() {
		_, err := client.Mounts(context.Background(), "key")
		answered <- err
	}()
	<-sn.called
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("the call succeeded")
	}
}

func TestCallsAreCounted(t *testing.T) {
	r := prometheus.NewRegistry()
	_, _, client := startSlow(t, metrics.New(r).Calls)
	if _, err := client.Stat(t.Context(), "key"); !errdefs.IsNotFound(err) {
		t.Errorf("Stat: %v", err)
	}
	names := 0
	if err := client.Walk(t.Context(), func(context.Context, snapshots.Info) error { names++; return nil }); err != nil || names != 1 {
		t.Errorf("Walk: %d names, %v", names, err)
	}
	// The server counts a call after it was answered.
	for _, want := range []string{"Stat NotFound", "List OK"} {
		waittest.For(t, want+" to be counted", func() bool { return counted(t, r)[want] == 1 })
	}
}

// counted returns how many calls were counted, by "method code".
func counted(t *testing.T, g prometheus.Gatherer) map[string]uint64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, f := range families {
		if f.GetName() != "ladle_grpc_request_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			counts[labels["method"]+" "+labels["code"]] = m.GetHistogram().GetSampleCount()
		}
	}
	return counts
}
