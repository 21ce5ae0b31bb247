package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"
	"google.golang.org/grpc"

	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/control"
	"github.com/ladle-dev/ladle/fs"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/snapshot"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/takeover"
)

// answers is the control service of the daemon.
type answers struct {
	started   time.Time
	cfg       config.Config
	store     *store.Store
	layers    *layer.Set
	trees     *fs.FileSystem
	endpoints map[string]snapshots.Snapshotter

	registries registries
}

// listenForControl makes the server of the control service, unless the configuration has none.
func (d *daemon) listenForControl(ctx context.Context, a *answers) error {
	path := d.cfg.ControlSocket()
	if path == "" {
		return nil
	}
	l, err := d.Sockets.Control(ctx, path)
	if err != nil {
		return fmt.Errorf("control service: %w", err)
	}
	srv := &server{control.NewServer(a, grpc.UnaryInterceptor(unaryInterceptor(nil))), l}
	d.servers[takeover.ControlEndpoint] = srv
	d.open.add("control service", srv.drain)
	log.G(ctx).WithField("address", path).Info("control service is served")
	return nil
}

// Status implements control.Service.
func (a *answers) Status(ctx context.Context, _ *control.StatusRequest) (*control.Status, error) {
	endpoints, err := a.endpointsStatus(ctx)
	if err != nil {
		return nil, err
	}
	disk := diskOf(a.store)()
	return &control.Status{
		Schema:    1,
		Process:   control.Process{Version: version(), PID: os.Getpid(), Started: a.started},
		Driver:    control.Driver{Name: a.trees.Driver(), Reason: a.trees.Reason()},
		Endpoints: endpoints,
		Store:     control.Store{Root: a.cfg.Root, Stored: disk.Stored, Free: disk.Free, Reserve: disk.Reserve, Partial: a.store.Partials()},
		Imports:   a.imports(),
		Failures:  a.failures(),
		Layers:    a.layersStatus(ctx),
	}, nil
}

func (a *answers) endpointsStatus(ctx context.Context) ([]control.Endpoint, error) {
	var all []control.Endpoint
	for _, e := range a.cfg.AllEndpoints() {
		n := control.Endpoint{Name: e.Name, Address: e.Address}
		err := a.endpoints[e.Name].Walk(ctx, func(_ context.Context, info snapshots.Info) error {
			switch info.Kind {
			case snapshots.KindActive:
				n.Active++
			case snapshots.KindView:
				n.Views++
			default:
				n.Committed++
				if snapshot.IsRemote(info) {
					n.Remote++
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		all = append(all, n)
	}
	return all, nil
}

func (a *answers) imports() []control.Import {
	all := []control.Import{}
	for _, i := range a.layers.Imports() {
		out := control.Import{Image: i.Image, Layer: i.Layer, Size: i.Size, Done: i.Done, Waiting: i.Waiting}
		if !i.Began.IsZero() {
			out.Since = &i.Began
		}
		all = append(all, out)
	}
	return all
}

func (a *answers) failures() []control.Failure {
	all := []control.Failure{}
	for _, f := range a.layers.FailedImports() {
		all = append(all, control.Failure{Image: f.Image, Layer: f.Layer, Time: f.Time, Reason: f.Err.Error()})
	}
	return all
}

// layersStatus has the layers of the store. A layer of which nothing can be read is left out:
// it was removed meanwhile, or the log says what is wrong with it when it is used.
func (a *answers) layersStatus(ctx context.Context) []control.Layer {
	filling := a.layers.Filling()
	all := []control.Layer{}
	for _, id := range a.store.Layers() {
		st, err := a.store.Stock(id)
		if err != nil {
			log.G(ctx).WithError(err).Debug("layer is left out of the status")
			continue
		}
		all = append(all, control.Layer{
			Number: st.Number, Layer: id.Blob, Images: st.Sources, Size: st.Size, Stored: st.Bytes,
			Chunks: st.Chunks, Present: st.Present, Open: st.Open, Filling: id == filling,
		})
	}
	slices.SortFunc(all, func(a, b control.Layer) int { return int(int64(a.Number) - int64(b.Number)) })
	return all
}
