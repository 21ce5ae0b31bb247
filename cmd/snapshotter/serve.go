package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/metrics"
)

// serve runs the daemon until ctx ends or a part of it fails, and stops it.
func serve(ctx context.Context, cfg config.Config) (err error) {
	if err := setLog(cfg.Log); err != nil {
		return err
	}
	log.G(ctx).WithField("version", version()).WithField("root", cfg.Root).Info("ladle starts")
	var open closers
	defer func() { err = errors.Join(err, stop(ctx, open)) }()

	inherited, err := inheritedSockets()
	if err != nil {
		return err
	}
	counts, registry := newMetrics(cfg.Observation)
	if err := observe(ctx, cfg.Observation, registry, inherited, &open); err != nil {
		return err
	}
	d := &daemon{cfg: cfg, counts: counts, open: &open}
	endpoints, err := d.start(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // told to stop before it was ready
	}
	if err != nil {
		return err
	}
	if !cfg.NoPrometheus {
		metrics.WatchStore(registry, d.storeBytes)
	}
	failed := make(chan error, len(endpoints))
	for _, e := range cfg.AllEndpoints() {
		srv, err := d.listen(ctx, inherited, e, endpoints[e.Name])
		if err != nil {
			return err
		}
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

// listen makes the server of an endpoint, on whose socket clients can already
// connect.
func (d *daemon) listen(ctx context.Context, s sockets, e config.Endpoint, sn snapshots.Snapshotter) (*server, error) {
	l, err := s.listen(e.Address, 0o660)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
	}
	srv := newServer(l, sn, d.counts.Calls)
	d.open.add("server of endpoint "+e.Name, srv.drain)
	log.G(ctx).WithField("endpoint", e.Name).WithField("address", e.Address).Info("endpoint is served")
	return srv, nil
}

// stop stops what is open, within stopTimeout, after ctx ended or something
// failed.
func stop(ctx context.Context, open closers) error {
	notifyStopping(ctx)
	log.G(ctx).Info("ladle stops")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return open.close(ctx)
}

func setLog(cfg config.Log) error {
	if err := log.SetLevel(cfg.Level); err != nil {
		return err
	}
	return log.SetFormat(log.OutputFormat(cfg.Format))
}
