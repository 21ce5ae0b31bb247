// Command stargz serves stargz-snapshotter as a containerd proxy snapshotter:
// the peer that ladle is compared with. Its flags are those of ladle serve.
//
//	stargz --address SOCK --root DIR --config FILE
//
// Limits: no Kubernetes or CRI credentials, no metrics address, no debug
// address, no FUSE manager; everything else is stargz-snapshotter's own code
// with its own defaults.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/service"
	"github.com/pelletier/go-toml"
	"google.golang.org/grpc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	address := flag.String("address", "", "socket to serve on")
	root := flag.String("root", "", "directory for all state")
	configFile := flag.String("config", "", "stargz-snapshotter's configuration file")
	flag.Parse()
	config, err := readConfig(*configFile)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*root, 0o711); err != nil {
		return err
	}
	// Its goroutines live until the process ends, past ctx.
	snapshotter, err := service.NewStargzSnapshotterService(context.WithoutCancel(ctx), *root, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshotter.Close()) }()
	if err := os.MkdirAll(filepath.Dir(*address), 0o700); err != nil {
		return err
	}
	if err := os.Remove(*address); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", *address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	context.AfterFunc(ctx, server.Stop)
	return server.Serve(listener)
}

// readConfig reads a file in go-toml v1, as stargz-snapshotter's own daemon
// does: the library applies the defaults in its struct tags.
func readConfig(name string) (*service.Config, error) {
	config := &service.Config{}
	if name == "" {
		return config, nil
	}
	tree, err := toml.LoadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := tree.Unmarshal(config); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return config, nil
}
