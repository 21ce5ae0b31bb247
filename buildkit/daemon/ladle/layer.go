package ladle

import (
	"context"
	"maps"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/util/bklog"
)

// Layer is a layer of an image that the registry has.
type Layer struct {
	Parent string // key of the snapshot below, "" for none
	// Labels say to a remote snapshotter which layer of which image it is.
	Labels map[string]string
}

// refLabel names the snapshot that a remote snapshotter is to make of a layer
// (containerd, docs/remote-snapshotter.md).
const refLabel = "containerd.io/snapshot.ref"

// Announce says what the snapshot of this key would be, if it is not there.
func (s *Snapshotter) Announce(key string, l Layer) {
	if key != "" && len(l.Labels) > 0 {
		s.layers.Add(key, l)
	}
}

// prepareLayer makes a lazy snapshot of an announced layer, and of those below
// it, and reports whether it is there now. If it is not, BuildKit pulls.
func (s *Snapshotter) prepareLayer(ctx context.Context, key string) bool {
	l, ok := s.layers.Get(key)
	if !ok || !s.isLadle(ctx) {
		return false
	}
	if l.Parent != "" {
		if _, err := s.Stat(ctx, l.Parent); err != nil {
			return false
		}
	}
	labels := maps.Clone(snapshots.FilterInheritedLabels(l.Labels))
	if labels == nil {
		labels = map[string]string{}
	}
	labels[refLabel] = key
	err := s.Prepare(ctx, "tmp-"+identity.NewID()+" "+key, l.Parent, snapshots.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		return true
	}
	if err == nil {
		// Not lazy: what it prepared is for unpacking, and BuildKit makes its
		// own for that.
		s.layers.Remove(key)
		return false
	}
	bklog.G(ctx).WithError(err).Warnf("layer %s is not lazy", key)
	return false
}
