package main

// This file has no package of its own: script/buildkit.sh adds it to BuildKit's command
// buildkitd, by the Go toolchain's overlay, and vets it there. Its name sorts last, so that
// init runs after the workers have registered themselves. Changes to BuildKit's own files
// are in _cache.

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/pkg/reference"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v3"

	"github.com/ladle-dev/ladle/buildkit/daemon/ladle"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/source"
	"github.com/moby/buildkit/source/containerblob"
	"github.com/moby/buildkit/source/containerimage"
	"github.com/moby/buildkit/source/local"
	"github.com/moby/buildkit/util/appcontext"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
)

func init() {
	for i := range workerInitializers {
		start := workerInitializers[i].fn
		workerInitializers[i].fn = func(c *cli.Command, o workerInitializerOpt) ([]worker.Worker, error) {
			workers, err := start(c, o)
			if err != nil || len(workers) == 0 {
				return workers, err
			}
			l := lender(o)
			for i, w := range workers {
				if workers[i], err = useLadle(w, l); err != nil {
					return nil, err
				}
			}
			return workers, nil
		}
	}
}

// lend is the lender of the process; nil before the first worker is initialized. Workers
// are initialized sequentially.
var lend *ladle.Lender

// lender returns the lender of the process, and starts it at the first call. It returns
// nil if that fails: ladle then uses its own credentials and settings.
func lender(o workerInitializerOpt) *ladle.Lender {
	if lend != nil {
		return lend
	}
	ctx := appcontext.Context()
	l, err := ladle.Lend(ctx, ladle.LenderOptions{
		Dir: o.config.Root, Sessions: o.sessionManager, Registries: o.config.Registries,
	})
	if err != nil {
		bklog.G(ctx).WithError(err).Warn("ladle: lender not started: credentials and registry settings are unavailable to ladle")
		return nil
	}
	lend = l
	return l
}

// useLadle lets a worker use ladle for merges, copies and layers, if its snapshotter is
// ladle, and l for credentials; l may be nil.
func useLadle(w worker.Worker, l *ladle.Lender) (worker.Worker, error) {
	b, ok := w.(*base.Worker)
	if !ok {
		return nil, fmt.Errorf("ladle: the worker is a %T", w)
	}
	s, err := ladle.Into(b.CacheMgr, b.LeaseManager(), l)
	if err != nil {
		return nil, err
	}
	own := b.CacheMgr
	b.CacheMgr = announcer{own, s, true}
	b.ImageSource.CacheAccessor = b.CacheMgr
	b.OCILayoutSource.CacheAccessor = announcer{own, s, false}
	if l == nil {
		return linking{b, b, s}, nil
	}
	files, err := local.NewSource(local.Opt{CacheAccessor: b.CacheMgr})
	if err != nil {
		return nil, err
	}
	blobs, err := containerblob.NewSource(containerblob.SourceOpt{
		ContentStore: b.WorkerOpt.ContentStore, CacheAccessor: b.CacheMgr, RegistryHosts: b.RegistryHosts,
	})
	if err != nil {
		return nil, err
	}
	all := []source.Source{files, blobs, b.HTTPSource, b.OCILayoutSource}
	if b.GitSource != nil { // nil if git is not installed, which BuildKit logs
		all = append(all, b.GitSource)
	}
	for _, s := range all {
		b.SourceManager.Register(noting{s})
	}
	b.SourceManager.Register(images{noting{b.ImageSource}, l})
	return linking{lending{b, l}, b, s}, nil
}

// lending is a worker that records admissions of clients, and closes the lender with
// itself.
type lending struct {
	*base.Worker
	lender *ladle.Lender
}

func (l lending) Close() error { return errors.Join(l.lender.Close(), l.Worker.Close()) }

// FromRemote is called with a result of --cache-from, for the layers that replace the
// execution of a step. The images were resolved for some of the clients that the step's
// sources were noted with.
func (l lending) FromRemote(ctx context.Context, remote *solver.Remote) (cache.ImmutableRef, error) {
	if noted := solver.CacheOptGetterOf(ctx); noted != nil && remote != nil {
		clients, _ := noted(true, clientsKey{})[clientsKey{}].(session.Group)
		for ref, blobs := range sources(remote) {
			if image, err := reference.Parse(ref); err == nil && clients != nil {
				l.lender.Suppose(ladle.Image{Ref: ref, Repository: image.Locator, Blobs: blobs}, clients)
			}
		}
	}
	return l.Worker.FromRemote(ctx, remote)
}

// sources returns the digests of remote's layers by the reference of their image, which
// BuildKit's importer adds to the descriptors (cache/remotecache/registry).
func sources(remote *solver.Remote) map[string][]string {
	blobs := map[string][]string{}
	for _, layer := range remote.Descriptors {
		if ref := layer.Annotations["containerd.io/distribution.source.ref"]; ref != "" {
			blobs[ref] = append(blobs[ref], layer.Digest.String())
		}
	}
	return blobs
}

// clientsKey is the key of the clients of a source in solver.CacheOpts: steps that depend
// on the source find them there.
type clientsKey struct{}

// noting is a source that adds the clients of the build to its CacheOpts.
type noting struct{ source.Source }

func (n noting) Resolve(ctx context.Context, id source.Identifier, sm *session.Manager, v solver.Vertex) (source.SourceInstance, error) {
	instance, err := n.Source.Resolve(ctx, id, sm, v)
	if err != nil {
		return nil, err
	}
	return noted{instance}, nil
}

type noted struct{ source.SourceInstance }

func (n noted) CacheKey(ctx context.Context, job solver.JobContext, index int) (key, pin string, opts solver.CacheOpts, done bool, err error) {
	key, pin, opts, done, err = n.SourceInstance.CacheKey(ctx, job, index)
	if err == nil && job != nil {
		if opts == nil {
			opts = solver.CacheOpts{}
		}
		opts[clientsKey{}] = job.Session()
	}
	return key, pin, opts, done, err
}

// images is BuildKit's source of images in registries. It records in the lender which
// clients are admitted to an image.
type images struct {
	source.Source
	lender *ladle.Lender
}

func (i images) Resolve(ctx context.Context, id source.Identifier, sm *session.Manager, v solver.Vertex) (source.SourceInstance, error) {
	instance, err := i.Source.Resolve(ctx, id, sm, v)
	if image, ok := id.(*containerimage.ImageIdentifier); ok && err == nil {
		return admitting{instance, i.lender, image.Reference}, nil
	}
	return instance, err
}

type admitting struct {
	source.SourceInstance
	lender *ladle.Lender
	image  reference.Spec
}

// CacheKey reads the manifest from the registry with the credentials of the clients of
// the job, and records that they are admitted.
func (a admitting) CacheKey(ctx context.Context, job solver.JobContext, index int) (key, pin string, opts solver.CacheOpts, done bool, err error) {
	key, pin, opts, done, err = a.SourceInstance.CacheKey(ctx, job, index)
	if err == nil && job != nil {
		image := ladle.Image{Ref: a.image.String(), Repository: a.image.Locator}
		for key := range opts {
			if blob, ok := key.(cache.DescHandlerKey); ok {
				image.Blobs = append(image.Blobs, string(blob))
			}
		}
		a.lender.Admit(image, job.Session())
	}
	return key, pin, opts, done, err
}

// announcer is BuildKit's cache manager; it announces the layers of descriptors to ladle.
type announcer struct {
	cache.Manager
	to       *ladle.Snapshotter
	registry bool // the layers are of images in registries
}

func (a announcer) GetByBlob(ctx context.Context, desc ocispecs.Descriptor, parent cache.ImmutableRef, opts ...cache.RefOption) (cache.ImmutableRef, error) {
	ref, toc, err := a.to.GetByBlob(ctx, a.Manager, desc, parent, opts...)
	if err != nil {
		return nil, err
	}
	if blob := ref.DescHandler(desc.Digest); blob != nil {
		a.to.Announce(key(ref), ladle.Layer{Parent: key(parent), Blob: desc.Digest, TOC: toc, Labels: blob.SnapshotLabels})
		if a.registry {
			if err := a.to.Store(ctx, ref, blob); err != nil {
				return nil, errors.Join(err, ref.Release(context.WithoutCancel(ctx)))
			}
		}
	}
	return ref, nil
}

// New returns references that Commit finalizes: BuildKit itself commits a snapshot only
// when another one is built on it or it is exported, and until then ladle must assume
// that it is written to. Local sources are excluded, since they change again.
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

// key returns the key of a reference's snapshot from the metadata of BuildKit's cache
// (cache/metadata.go, keySnapshot).
func key(ref cache.ImmutableRef) string {
	if ref == nil {
		return ""
	}
	return ref.GetString("cache.snapshot")
}
