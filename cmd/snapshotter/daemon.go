package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/auth"
	"github.com/ladle-dev/ladle/config"
	"github.com/ladle-dev/ladle/cri"
	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/fs"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/snapshot"
	"github.com/ladle-dev/ladle/store"
	"github.com/ladle-dev/ladle/takeover"
)

// daemon connects the packages, from the lowest level to the highest.
type daemon struct {
	takeover.Received
	cfg     config.Config
	counts  *metrics.Metrics
	started time.Time
	store   *store.Store
	layers  *layer.Set
	pulls   *cri.Credentials // nil: no pulls pass, or have passed
	trees   *fs.FileSystem
	servers map[string]*server // by endpoint, and that of the control service by its name
	open    *closers           // each part is added when it was started

	registries registries
}

// treesPart is the name of the part that serves the mounts of containers. It needs all parts
// that were started before it.
const treesPart = "trees"

// start opens the store, the layers, the trees and the endpoints, and returns the
// snapshotter of each endpoint.
func (d *daemon) start(ctx context.Context) (map[string]snapshots.Snapshotter, error) {
	if err := os.MkdirAll(d.cfg.Root, 0o711); err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, d.storeDir(), store.Options{
		Reserve: d.cfg.Store.Reserve.Of, IndexBytes: d.cfg.Import.KeepIndexes, Outdated: d.Mounts.Inherited(),
	})
	if err != nil {
		return nil, err
	}
	d.store = st
	d.open.add("store", func(context.Context) error { return st.Close() })

	d.pulls = d.openPulls(ctx)
	creds := newCredentials(d.cfg.Credentials, d.pulls, d.counts.Credentials)
	client := d.client(ctx, creds)
	if creds.secrets != nil {
		creds.secrets.Start()
		d.open.add("pull secrets", func(context.Context) error { return creds.secrets.Close() })
	}
	set := layer.NewSet(st, client, d.layerOptions(creds.offers))
	d.layers = set
	d.registries = registries{creds, client, &denials{Layers: set}}
	d.open.add("layers", func(context.Context) error { return set.Close() })

	trees, err := d.serveTrees(ctx, fs.Options{
		Root:     d.cfg.Root,
		Images:   st,
		Layers:   fs.LayersOf(set),
		Driver:   d.cfg.Driver,
		Requests: d.counts.Requests,
		Mounts:   d.counts.Mounts,
	})
	if err != nil {
		return nil, err
	}
	d.trees = trees
	d.open.add(treesPart, trees.Close)
	return d.endpoints(ctx, d.registries.denied, trees)
}

func (d *daemon) storeDir() string { return filepath.Join(d.cfg.Root, "store") }

func (d *daemon) layerOptions(offers *auth.Offers) layer.Options {
	var lenders layer.Lenders
	if offers != nil {
		lenders = offers
	}
	return layer.Options{
		ReadTimeout:  d.cfg.ReadTimeout.Duration(),
		OpenTimeout:  d.cfg.MountTimeout.Duration(),
		PrefetchSize: d.cfg.PrefetchSize,
		NoPrefetch:   d.cfg.NoPrefetch,
		NoFill:       d.cfg.NoBackgroundFetch,
		Lenders:      lenders,
		Importing:    layer.Importing{Enable: d.cfg.Import.Enable, Concurrent: d.cfg.Import.MaxConcurrent},
		Trust:        layer.Trust(d.cfg.Index.Trust),
		Counts: layer.Counts{
			Layers: d.counts.Layers, Imports: d.counts.Imports, Chunks: d.counts.Chunks, Reads: d.counts.Reads,
			Proofs: d.counts.Proofs,
		},
	}
}

func (d *daemon) client(ctx context.Context, creds credentials) *fetch.Client {
	return fetch.New(fetch.Hosts(ctx, hostsOptions(d.cfg, creds, d.counts.HTTP)), fetchOptions(d.cfg))
}

func fetchOptions(cfg config.Config) fetch.Options {
	return fetch.Options{
		Timeout:    cfg.Blob.FetchingTimeout.Duration(),
		MaxRetries: cfg.Blob.MaxRetries,
		MinWait:    cfg.Blob.MinWait.Duration(),
		MaxWait:    cfg.Blob.MaxWait.Duration(),
		Patience:   cfg.ReadTimeout.Duration(),
	}
}

// endpoints opens all endpoints. They share their claims, so that no endpoint drops a layer
// that another one uses.
func (d *daemon) endpoints(ctx context.Context, layers snapshot.Layers, trees snapshot.Trees) (map[string]snapshots.Snapshotter, error) {
	claims := snapshot.NewClaims()
	all := map[string]snapshots.Snapshotter{}
	for _, e := range d.cfg.AllEndpoints() {
		sn, err := snapshot.New(ctx, snapshot.Options{
			Root:        filepath.Join(d.cfg.Root, "e", e.Name),
			Name:        e.Name,
			Layers:      layers,
			Trees:       trees,
			Claims:      claims,
			Drop:        d.drop,
			OpenTimeout: d.cfg.MountTimeout.Duration(),
			Prepares:    d.counts.Prepares,
			Xino:        d.cfg.Xino,
			Settling:    snapshot.Settling{Settle: !d.cfg.NoDedupe, Settles: d.counts.Settles},
		})
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.Name, err)
		}
		d.open.add("endpoint "+e.Name, func(context.Context) error { return sn.Close() })
		all[e.Name] = sn
	}
	d.dropUnused(ctx, claims, time.After(leftAfter))
	return all, nil
}

// drop removes the layers that no endpoint claims from the store.
func (d *daemon) drop(ctx context.Context, claimed func(store.ID) bool) error {
	freed, err := d.layers.Remove(ctx, claimed)
	if freed > 0 {
		log.G(ctx).WithField("bytes", freed).Info("unused layers removed")
	}
	return err
}
