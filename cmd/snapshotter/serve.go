package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/takeover"
)

// serve runs the daemon until ctx ends or a part of it fails, and then stops it.
func serve(ctx context.Context, cfg config.Config, received takeover.Received) (err error) {
	if err := setLog(cfg.Log); err != nil {
		return err
	}
	log.G(ctx).WithField("version", version()).WithField("root", cfg.Root).Info("ladle starts")
	var open closers
	d := &daemon{cfg: cfg, Received: received, started: time.Now(), servers: map[string]*server{}, open: &open}
	defer func() { err = errors.Join(err, d.stop(ctx)) }()

	counts, registry := newMetrics()
	if err := observe(ctx, cfg.Observation, registry, d.Sockets, &open); err != nil {
		return err
	}
	d.counts = counts
	endpoints, err := d.start(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // a signal came before it was ready
	}
	if err != nil {
		return err
	}
	metrics.WatchStore(registry, diskOf(d.store))
	if err := d.listen(ctx, endpoints); err != nil {
		return err
	}
	failed := make(chan error, len(d.servers))
	for _, srv := range d.servers {
		go func() { failed <- srv.serve() }()
	}
	if err := notifyReady(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// listen makes the servers of all endpoints, of the control service, and of the proxy of CRI's
// image service.
func (d *daemon) listen(ctx context.Context, endpoints map[string]snapshots.Snapshotter) error {
	all := d.cfg.AllEndpoints()
	paths := map[string]string{}
	for _, e := range all {
		paths[e.Name] = e.Address
	}
	if control := d.cfg.ControlSocket(); control != "" {
		paths[takeover.ControlEndpoint] = control
	}
	if d.cfg.CRI.Address != "" {
		paths[takeover.ImageServiceEndpoint] = d.cfg.CRI.Address
	}
	if err := d.Sockets.Retain(paths); err != nil {
		return err
	}
	for _, e := range all {
		if err := d.listenFor(ctx, e, endpoints[e.Name]); err != nil {
			return fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
	}
	err := d.listenForControl(ctx, &answers{
		started: d.started, cfg: d.cfg, store: d.store, layers: d.layers, trees: d.trees, endpoints: endpoints,
		registries: d.registries,
	})
	if err != nil {
		return err
	}
	return d.listenForImageService(ctx)
}

// listenFor makes the server of an endpoint. Clients can connect to its socket from then on,
// or before.
func (d *daemon) listenFor(ctx context.Context, e config.Endpoint, sn snapshots.Snapshotter) error {
	l, err := d.Sockets.Endpoint(ctx, e.Name, e.Address)
	if err != nil {
		return err
	}
	srv := newServer(l, sn, d.counts.Calls)
	if err := d.serveDiffs(e, srv); err != nil {
		return err
	}
	d.servers[e.Name] = srv
	d.open.add("server of endpoint "+e.Name, srv.drain)
	log.G(ctx).WithField("endpoint", e.Name).WithField("address", e.Address).Info("endpoint is served")
	return nil
}

// stop stops the parts of the daemon within stopTimeout. If the next process can take the
// mounts over (package takeover), and the end of ctx was not a request for a clean stop
// (errStop), the mounts and the endpoints' sockets remain. The parts that serve the mounts
// are not stopped then: they answer the kernel until this process ends.
func (d *daemon) stop(ctx context.Context) error {
	notifyStopping(ctx)
	leave := !errors.Is(context.Cause(ctx), errStop) && d.Mounts.Stored()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if leave {
		log.G(ctx).Info("ladle stops, its mounts remain for the next process")
		for _, srv := range d.servers {
			takeover.Leave(srv.listener)
		}
		return d.open.above(treesPart).close(ctx)
	}
	log.G(ctx).Info("ladle stops, its mounts are removed")
	err := errors.Join(d.open.close(ctx), d.Mounts.Withdraw())
	for endpoint := range d.servers {
		err = errors.Join(err, d.Sockets.Withdraw(endpoint))
	}
	return err
}

func setLog(cfg config.Log) error {
	if err := log.SetLevel(cfg.Level); err != nil {
		return err
	}
	return log.SetFormat(log.OutputFormat(cfg.Format))
}
