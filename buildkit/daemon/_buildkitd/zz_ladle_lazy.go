package main

// As zz_ladle.go, this file is added to BuildKit's command buildkitd.

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

// The caches of workers load their records when the workers are made, and need
// handlers for lazy layers then.
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

// Get returns a record with the descriptor handlers that the build has from its own
// sources, where it has them: those say from where this build may read a layer, and
// show its progress. BuildKit asks for them only if it misses any.
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
	all := []cache.RefOption{handlers} // the first one counts
	return a.Manager.Get(ctx, id, pg, append(all, opts...)...)
}
