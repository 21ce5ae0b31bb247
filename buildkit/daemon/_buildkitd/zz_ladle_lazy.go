package main

// Like zz_ladle.go, this file is added to BuildKit's command buildkitd.

import (
	"context"
	"maps"

	"github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/buildkit/daemon/ladle"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/util/progress"
	"github.com/moby/buildkit/worker"
)

// The cache of a worker loads its records when the worker is initialized, and needs
// descriptor handlers for lazy layers at that time.
func init() {
	for i := range workerInitializers {
		start := workerInitializers[i].fn
		workerInitializers[i].fn = func(c *cli.Command, o workerInitializerOpt) ([]worker.Worker, error) {
			admitted := func(g session.Group, blob string) []string {
				if lend == nil {
					return nil
				}
				return lend.Admitted(g, blob)
			}
			cache.SourceOf = ladle.NewSources(o.sessionManager, o.config.Registries, admitted).Of
			return start(c, o)
		}
	}
}

// Get adds the descriptor handlers of the build's own sources to opts, if the build has
// some for the record: they read with the credentials of the build, and show progress.
// BuildKit itself looks for them only if handlers are missing.
func (a announcer) Get(ctx context.Context, id string, pg progress.Controller, opts ...cache.RefOption) (cache.ImmutableRef, error) {
	getter := solver.CacheOptGetterOf(ctx)
	if getter == nil {
		return a.Manager.Get(ctx, id, pg, opts...)
	}
	var keys []any
	for _, blob := range cache.Packed(a.Manager, id) {
		keys = append(keys, cache.DescHandlerKey(blob))
	}
	if len(keys) == 0 {
		return a.Manager.Get(ctx, id, pg, opts...)
	}
	handlers := cache.DescHandlers{}
	for key, value := range getter(true, keys...) {
		if h, ok := value.(*cache.DescHandler); ok {
			handlers[digest.Digest(key.(cache.DescHandlerKey))] = h
		}
	}
	for _, o := range opts {
		if given, ok := o.(cache.DescHandlers); ok {
			maps.Copy(handlers, given)
		}
	}
	all := []cache.RefOption{handlers} // BuildKit uses the first one
	return a.Manager.Get(ctx, id, pg, append(all, opts...)...)
}
