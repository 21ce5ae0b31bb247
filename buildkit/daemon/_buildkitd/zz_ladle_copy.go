package main

// Like zz_ladle.go, this file is added to BuildKit's command buildkitd.

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/ladle-dev/ladle/buildkit/daemon/ladle"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
)

// linking is a worker that requests copies between stages from ladle.
type linking struct {
	worker.Worker
	base *base.Worker
	to   *ladle.Snapshotter
}

// ResolveOp replaces the file operation of a simple copy.
func (l linking) ResolveOp(v solver.Vertex, s frontend.FrontendLLBBridge, sm *session.Manager, o worker.ProxyOpt) (solver.Op, error) {
	op, err := l.Worker.ResolveOp(v, s, sm, o)
	if err != nil {
		return nil, err
	}
	if whole, ok := v.Sys().(*pb.Op); ok {
		if files, ok := whole.Op.(*pb.Op_File); ok && simple(files.File, len(v.Inputs())) {
			return linkOp{op, l, files.File.Actions[0], v.Name()}, nil
		}
	}
	return op, nil
}

// simple reports whether an operation is a copy of one path from another snapshot that
// changes nothing but the path: COPY --from with one source and no options.
func simple(op *pb.FileOp, inputs int) bool {
	if len(op.Actions) != 1 {
		return false
	}
	a, c := op.Actions[0], op.Actions[0].GetCopy()
	return c != nil && a.Output == 0 && a.Input >= -1 && int(a.Input) < inputs &&
		a.SecondaryInput >= 0 && int(a.SecondaryInput) < inputs &&
		c.Owner == nil && c.Mode == -1 && c.ModeStr == "" && c.Timestamp == -1 &&
		len(c.IncludePatterns)+len(c.ExcludePatterns)+len(c.RequiredPaths) == 0 &&
		!c.AttemptUnpackDockerCompatibility && !c.AlwaysReplaceExistingDestPaths &&
		c.DirCopyContents && c.CreateDestPath &&
		!strings.ContainsAny(c.Src, `*?[\`) && path.Base(c.Src) != "."
}

// linkOp is BuildKit's file operation. It requests the copy from ladle first.
type linkOp struct {
	solver.Op
	linking
	action *pb.FileAction
	name   string
}

// CacheMap is BuildKit's, but the digests of the copied files, which are part of the
// cache key, are computed on all CPUs.
func (l linkOp) CacheMap(ctx context.Context, job solver.JobContext, index int) (*solver.CacheMap, bool, error) {
	m, done, err := l.Op.CacheMap(ctx, job, index)
	if err != nil || m == nil || int(l.action.SecondaryInput) >= len(m.Deps) {
		return m, done, err
	}
	dep := &m.Deps[l.action.SecondaryInput]
	own := dep.ComputeDigestFunc
	if own == nil {
		return m, done, err
	}
	dep.ComputeDigestFunc = func(ctx context.Context, r solver.Result, g session.Group) (digest.Digest, error) {
		if ref := input([]solver.Result{r}, 0); ref != nil && l.to.IsLocal(ctx, key(ref)) {
			if err := ladle.Digests(ctx, ref, l.action.GetCopy().Src, g); err != nil && ctx.Err() == nil {
				bklog.G(ctx).WithError(err).Debug("ladle: computing digests failed, BuildKit computes them")
			}
		}
		return own(ctx, r, g)
	}
	return m, done, err
}

// Exec requests the copy from ladle, and calls BuildKit's own Exec if that fails for any
// reason.
func (l linkOp) Exec(ctx context.Context, job solver.JobContext, inputs []solver.Result) ([]solver.Result, error) {
	ref, err := l.link(ctx, job.Session(), inputs)
	if err == nil {
		bklog.G(ctx).WithField("copy", l.name).Debug("ladle: copy made of links")
		return []solver.Result{worker.NewWorkerRefResult(ref, l.base)}, nil
	}
	if ctx.Err() != nil {
		return nil, err
	}
	if errdefs.IsNotImplemented(err) || errdefs.IsFailedPrecondition(err) {
		bklog.G(ctx).WithError(err).WithField("copy", l.name).Debug("ladle: copy refused, BuildKit copies")
	} else {
		bklog.G(ctx).WithError(err).WithField("copy", l.name).Warn("ladle: copy failed, BuildKit copies")
	}
	return l.Op.Exec(ctx, job, inputs)
}

// link makes the result of the operation with the same calls of the cache manager as
// BuildKit's own operation.
func (l linkOp) link(ctx context.Context, g session.Group, inputs []solver.Result) (cache.ImmutableRef, error) {
	from, parent := input(inputs, l.action.SecondaryInput), input(inputs, l.action.Input)
	if from == nil || !l.to.Copies(ctx) {
		return nil, errdefs.ErrNotImplemented
	}
	// A source that is not committed can change, as a local source does with the next
	// build, and must not be linked.
	if _, ok := from.GetEqualMutable(); ok {
		return nil, fmt.Errorf("the source is not committed: %w", errdefs.ErrFailedPrecondition)
	}
	for _, ref := range []cache.ImmutableRef{from, parent} {
		if ref == nil {
			continue
		}
		if err := ref.Extract(ctx, g); err != nil {
			return nil, err
		}
	}
	c := ladle.Copy{From: key(from), Parent: key(parent), Source: path.Clean("/" + l.action.GetCopy().Src), Target: target(l.action.GetCopy().Dest)}
	name := l.name
	if name == "" {
		name = "fileop target"
	}
	ref, err := l.base.CacheMgr.New(ladle.WithCopy(ctx, c), parent, g, cache.WithDescription(name), cache.CachePolicyRetain)
	if err != nil {
		return nil, err
	}
	made, err := ref.Commit(ctx)
	if err != nil {
		ctx := context.WithoutCancel(ctx)
		if err := ref.SetCachePolicyDefault(); err != nil {
			bklog.G(ctx).WithError(err).Warn("ladle: reference of a failed copy cannot be removed from the cache")
		}
		if err := ref.Release(ctx); err != nil {
			bklog.G(ctx).WithError(err).Warn("ladle: reference of a failed copy is not released")
		}
	}
	return made, err
}

// input returns the i-th input of an operation; nil if it is empty.
func input(inputs []solver.Result, i int64) cache.ImmutableRef {
	if i < 0 {
		return nil
	}
	ref, ok := inputs[i].Sys().(*worker.WorkerRef)
	if !ok || ref.ImmutableRef == nil {
		return nil
	}
	return ref.ImmutableRef
}

// target returns a destination in the form of ladle's protocol: it ends in a slash if it
// must be a directory.
func target(dest string) string {
	clean := path.Clean("/" + dest)
	if clean != "/" && (strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, "/.")) {
		clean += "/"
	}
	return clean
}
