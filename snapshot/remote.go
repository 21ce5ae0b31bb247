package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/fetch"
	"github.com/ladle-dev/ladle/layer"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// errTaken says that the remote snapshot of that name shows another layer. A
// client's names derive from what images claim (chain IDs), so an image could
// choose the name of another image's layer.
var errTaken = errors.New("the snapshot of this name has another layer")

// layerPrepare is a Prepare that asks for a layer of an image.
type layerPrepare struct {
	key, parent string
	labels      map[string]string
	layer.Request
	top bool // it is the topmost layer of the image
}

// target is what the client calls the snapshot of the layer.
func (p layerPrepare) target() string { return p.labels[snapshots.LabelSnapshotRef] }

// prepareRemote makes the remote snapshot that labels ask for. It returns
// ErrAlreadyExists when the snapshot is there, and nil when the layer is to be
// prepared as overlayfs would. It writes the one log line of the layer.
func (s *Snapshotter) prepareRemote(ctx context.Context, key, parent string, labels map[string]string) error {
	p := layerPrepare{key: key, parent: parent, labels: labels}
	var why error
	p.Request, p.top, why = parseRequest(labels)
	how := "layer is read lazily"
	p.Importing = func() { how = "layer is imported" }
	var chain stack.Chain
	if why == nil && isOrphan(parent, labels) {
		why = errOrphan
	}
	if why == nil {
		s.offer(labels, p.Request)
		chain, why = s.openRemote(ctx, p)
	}
	if why != nil && ctx.Err() != nil {
		return why // the caller gave up
	}
	logger := log.G(ctx).WithField("key", key).WithField("target", p.target())
	if errors.Is(why, errNoLayer) {
		s.leave(logger, unnamed(key))
		return nil
	}
	logger = logger.WithField("image", p.Source.Ref).WithField("layer", p.Source.Digest)
	if why != nil {
		s.leave(logger, why)
		return nil
	}
	s.opts.Prepares.Remote()
	logger.WithField(preparedField, "true").Info(how)
	if merged := chain.Bottom(); len(merged) > 0 {
		s.opts.Trees.Warm(store.Spec{Kind: store.Lowest, Layers: merged})
	}
	return fmt.Errorf("remote snapshot %q: %w", p.target(), errdefs.ErrAlreadyExists)
}

// preparedField is "true" or "false" in the log line of a layer, strings as in the
// logs of other snapshotters.
const preparedField = "remote-snapshot-prepared"

// leave says why a layer is not read lazily.
func (s *Snapshotter) leave(logger *log.Entry, why error) {
	s.opts.Prepares.Local(reasonOf(why))
	logger = logger.WithField(preparedField, "false").WithError(why)
	if errors.Is(why, layer.ErrNotLazy) || errors.Is(why, errNoLayer) {
		logger.Info("layer is left to the ordinary pull")
	} else {
		logger.Warn("layer is left to the ordinary pull")
	}
}

// offer passes on the offer of credentials that labels have, if they have one.
func (s *Snapshotter) offer(labels map[string]string, req layer.Request) {
	if socket := labels[credentialsLabel]; socket != "" {
		s.opts.Layers.Offer(req.Source.Ref, socket)
	}
}

// openRemote opens the layer and makes its snapshot, or finds it made already.
// It returns the chain that ends in it, if it is the topmost one of an image.
func (s *Snapshotter) openRemote(ctx context.Context, p layerPrepare) (chain stack.Chain, err error) {
	openCtx, importing, cancel := s.openContext(ctx)
	defer cancel()
	noted := p.Importing
	p.Importing = func() {
		importing()
		noted()
	}
	if p.Proves, err = s.proof(ctx, p.target(), p.parent, store.ID{Blob: p.Source.Digest, TOC: p.TOC}); err != nil {
		return nil, err
	}
	done, err := s.opts.Claims.open(openCtx, p.Source.Digest)
	if err != nil {
		return nil, causeOf(openCtx, err)
	}
	defer done()
	id, err := s.opts.Layers.Open(openCtx, p.Request)
	if err != nil {
		return nil, causeOf(openCtx, err)
	}
	// The new snapshot's claim, if there is to be a new one.
	s.opts.Claims.Claim(id)
	chain, made, err := s.commitRemote(ctx, p, id)
	if !made {
		s.opts.Claims.Unclaim(id)
	}
	return chain, err
}

// openContext returns the context of Layers.Open: it ends after OpenTimeout, unless
// importing is called before, since an import takes as long as the layer takes to fetch.
func (s *Snapshotter) openContext(ctx context.Context) (openCtx context.Context, importing func(), cancel func()) {
	openCtx, end := context.WithCancelCause(ctx)
	late := fmt.Errorf("not opened within %v: %w", s.opts.OpenTimeout, context.DeadlineExceeded)
	timer := time.AfterFunc(s.opts.OpenTimeout, func() { end(late) })
	return openCtx, func() { timer.Stop() }, func() {
		timer.Stop()
		end(context.Canceled)
	}
}

// causeOf returns why ctx ended if that is what err says.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}

// commitRemote makes the remote snapshot of the layer id unless it is there. It returns
// the chain as openRemote does.
func (s *Snapshotter) commitRemote(ctx context.Context, p layerPrepare, id store.ID) (chain stack.Chain, made bool, err error) {
	if err := s.skipNumbers(ctx); err != nil {
		return nil, false, err
	}
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		name, there, err := remoteName(ctx, p.target(), p.parent, id)
		if err != nil {
			return err
		}
		if !there {
			if _, err := storage.CreateSnapshot(ctx, snapshots.KindActive, p.key, p.parent); err != nil {
				return err
			}
			stored := snapshots.WithLabels(remoteLabels(id, p.key, p.labels))
			if _, err := storage.CommitActive(ctx, p.key, name, snapshots.Usage{}, stored); err != nil {
				return err
			}
			s.clientKeys.add(name)
		} else if err := addSpace(ctx, name, p.key); err != nil {
			return err
		}
		if made = !there; p.top {
			chain, err = readChain(ctx, name)
		}
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return chain, made, nil
}

// addSpace notes that the Prepare key asked for the snapshot name.
func addSpace(ctx context.Context, name, key string) error {
	space, _, ok := cutKey(key)
	if !ok {
		return nil
	}
	_, info, _, err := storage.GetInfo(ctx, name)
	if _, remote := layerOf(info); err != nil || !remote || info.Labels[spaceLabel+space] != "" {
		return err
	}
	label := spaceLabel + space
	info.Labels[label] = "true"
	_, err = storage.UpdateInfo(ctx, info, "labels."+label)
	return err
}

// remoteName returns the name of the remote snapshot of the layer id over
// parent, and whether it is there. The name is target, or if a snapshot over
// another parent has that name, target and the parent's number: containerd
// finds remote snapshots by their label and parent (core/metadata, snapshot.go).
func remoteName(ctx context.Context, target, parent string, id store.ID) (name string, there bool, err error) {
	parentID := "0" // numbers begin with 1
	if parent != "" {
		if parentID, _, _, err = storage.GetInfo(ctx, parent); err != nil {
			return "", false, fmt.Errorf("parent %q: %w", parent, err)
		}
	}
	for _, name := range []string{target, target + "@" + parentID} {
		_, info, _, err := storage.GetInfo(ctx, name)
		if errdefs.IsNotFound(err) {
			return name, false, nil
		}
		if err != nil {
			return "", false, err
		}
		if info.Kind != snapshots.KindCommitted || info.Parent != parent {
			continue
		}
		if has, remote := layerOf(info); remote && has != id {
			return "", false, errTaken
		}
		return name, true, nil
	}
	return "", false, errTaken
}

// reasonOf returns what is counted for a layer that is not remote.
func reasonOf(err error) metrics.Reason {
	for _, r := range []struct {
		sign   error
		reason metrics.Reason
	}{
		{errNoLayer, metrics.ReasonNoLabels},
		{layer.ErrNotLazy, metrics.ReasonFormat},
		{layer.ErrUnverified, metrics.ReasonUnverified},
		{layer.ErrInvalid, metrics.ReasonInvalid},
		{context.DeadlineExceeded, metrics.ReasonTimeout},
		{fetch.ErrNotFound, metrics.ReasonRegistry},
		{fetch.ErrUnauthorized, metrics.ReasonRegistry},
		{fetch.ErrUnavailable, metrics.ReasonRegistry},
		{fetch.ErrNoRanges, metrics.ReasonRegistry},
	} {
		if errors.Is(err, r.sign) {
			return r.reason
		}
	}
	return metrics.ReasonOther
}
