package main

// This file is not part of a package of its own: script/buildkit.sh adds it to
// BuildKit's command buildkitd, by the Go toolchain's overlay, and vets it
// there. No file of BuildKit is changed. Its name sorts last, so that init runs
// when the workers have registered themselves.

import (
	"context"
	"errors"
	"fmt"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli"

	"github.com/ladle-dev/ladle/buildkit/daemon/ladle"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
)

func init() {
	for i := range workerInitializers {
		start := workerInitializers[i].fn
		workerInitializers[i].fn = func(c *cli.Context, o workerInitializerOpt) ([]worker.Worker, error) {
			workers, err := start(c, o)
			for _, w := range workers {
				if err := useLadle(w); err != nil {
					return nil, err
				}
			}
			return workers, err
		}
	}
}

// useLadle gives merges and layers of a worker to ladle, if its snapshotter is
// ladle.
func useLadle(w worker.Worker) error {
	b, ok := w.(*base.Worker)
	if !ok {
		return fmt.Errorf("ladle: the worker is a %T", w)
	}
	s, err := ladle.Into(b.CacheMgr, b.LeaseManager())
	if err != nil {
		return err
	}
	b.CacheMgr = announcer{b.CacheMgr, s}
	for _, source := range []*cache.Accessor{&b.ImageSource.CacheAccessor, &b.OCILayoutSource.CacheAccessor} {
		*source = b.CacheMgr
	}
	return nil
}

// announcer is BuildKit's cache, which announces the layers that it learns of.
type announcer struct {
	cache.Manager
	to *ladle.Snapshotter
}

func (a announcer) GetByBlob(ctx context.Context, desc ocispecs.Descriptor, parent cache.ImmutableRef, opts ...cache.RefOption) (cache.ImmutableRef, error) {
	ref, err := a.Manager.GetByBlob(ctx, desc, parent, opts...)
	if err != nil {
		return nil, err
	}
	if blob := ref.DescHandler(desc.Digest); blob != nil {
		a.to.Announce(key(ref), ladle.Layer{Parent: key(parent), Labels: blob.SnapshotLabels})
	}
	return ref, nil
}

// New returns references that are committed in full: BuildKit itself commits a
// snapshot only when something is built on it or exported, and until then ladle
// must take it for one that is written to. Local sources do change again.
func (a announcer) New(ctx context.Context, parent cache.ImmutableRef, s session.Group, opts ...cache.RefOption) (cache.MutableRef, error) {
	ref, err := a.Manager.New(ctx, parent, s, opts...)
	if err != nil || ref.GetRecordType() == client.UsageRecordTypeLocalSource {
		return ref, err
	}
	return committed{ref}, nil
}

type committed struct{ cache.MutableRef }

func (c committed) Commit(ctx context.Context) (cache.ImmutableRef, error) {
	ref, err := c.MutableRef.Commit(ctx)
	if err != nil {
		return nil, err
	}
	if err := ref.Finalize(ctx); err != nil {
		return nil, errors.Join(err, ref.Release(context.WithoutCancel(ctx)))
	}
	return ref, nil
}

// key is the key of a reference's snapshot, by the name that BuildKit's cache
// keeps it under (cache/metadata.go, keySnapshot).
func key(ref cache.ImmutableRef) string {
	if ref == nil {
		return ""
	}
	return ref.GetString("cache.snapshot")
}
