package snapshot

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// The ways in which a client reaches an endpoint. Each puts something in front
// of it, in dir, and returns how to end that.
var clients = map[string]func(s *Snapshotter, dir string) (snapshots.Snapshotter, func() error, error){
	"direct":   func(s *Snapshotter, _ string) (snapshots.Snapshotter, func() error, error) { return s, s.Close, nil },
	"proxy":    throughProxy,
	"metadata": underMetadata,
}

func throughProxy(s *Snapshotter, dir string) (snapshots.Snapshotter, func() error, error) {
	socket := filepath.Join(dir, "s.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, nil, err
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(s))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	end := func() error {
		err := conn.Close()
		server.GracefulStop()
		return errors.Join(err, <-served, s.Close())
	}
	return proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "ladle"), end, nil
}

func underMetadata(s *Snapshotter, dir string) (snapshots.Snapshotter, func() error, error) {
	db, end, err := newMetadata(s, dir)
	if err != nil {
		return nil, nil, err
	}
	return db.Snapshotter("ladle"), end, nil
}

func newMetadata(s *Snapshotter, dir string) (*metadata.DB, func() error, error) {
	behind, endProxy, err := throughProxy(s, dir)
	if err != nil {
		return nil, nil, err
	}
	db, err := bolt.Open(filepath.Join(dir, "meta.db"), 0o600, nil)
	if err != nil {
		return nil, nil, errors.Join(err, endProxy())
	}
	mdb := metadata.NewDB(db, nil, map[string]snapshots.Snapshotter{"ladle": behind})
	if err := mdb.Init(context.Background()); err != nil {
		return nil, nil, errors.Join(err, db.Close(), endProxy())
	}
	return mdb, func() error { return errors.Join(db.Close(), endProxy()) }, nil
}

// TestSuite runs containerd's tests of a snapshotter. The name given to them
// says which quirks to expect.
func TestSuite(t *testing.T) {
	for name, reach := range clients {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "metadata" { // as containerd reaches it
				t.Skip("takes long, and is left out by -short")
			}
			testsuite.SnapshotterSuite(t, "overlayfs", func(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
				d := newDisk(t)
				s, err := New(ctx, Options{Root: filepath.Join(root, "ladle"), Layers: d, Trees: d})
				if err != nil {
					return nil, nil, err
				}
				client, end, err := reach(s, root)
				return client, func() error {
					noStrays(t, s)
					return end()
				}, err
			})
		})
	}
}
