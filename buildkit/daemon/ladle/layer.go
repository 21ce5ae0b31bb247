package ladle

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/util/bklog"
	"github.com/opencontainers/go-digest"
)

// Layer is a layer of an image that the registry has.
type Layer struct {
	Parent string        // key of the snapshot below, "" for none
	Blob   digest.Digest // of the layer
	TOC    digest.Digest // of its table of contents; without one it is not lazy
	// Labels say to a remote snapshotter which layer of which image it is.
	Labels map[string]string
}

// refLabel names the snapshot that a remote snapshotter is to make of a layer
// (containerd, docs/remote-snapshotter.md).
const refLabel = "containerd.io/snapshot.ref"

// blobLabel names the blob of a layer (BuildKit's util/estargz/labels.go).
const blobLabel = "containerd.io/snapshot/remote/stargz.digest"

// lazyKey begins the keys that ask for a lazy layer, BuildKit's own ones too
// (cache/refs.go, prepareRemoteSnapshotsStargzMode).
const lazyKey = "tmp-"

// ladlePrefix begins the labels that only ladle understands.
const ladlePrefix = "containerd.io/snapshot/ladle."

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
	err := s.MergeSnapshotter.Prepare(ctx, lazyKey+identity.NewID()+" "+key, l.Parent, snapshots.WithLabels(s.labels(key, l)))
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

// labels are those that ask for the snapshot key of a layer. Some of a layer's
// are annotations of its image, which says nothing to ladle in BuildKit's name.
// The blob and the table of contents are those that the key is made of: BuildKit
// keeps one set of labels for each blob of an image, and an image can name a blob
// twice, with other tables of contents.
func (s *Snapshotter) labels(key string, l Layer) map[string]string {
	labels := map[string]string{}
	for name, value := range snapshots.FilterInheritedLabels(l.Labels) {
		if !strings.HasPrefix(name, ladlePrefix) {
			labels[name] = value
		}
	}
	labels[refLabel], labels[blobLabel], labels[tocLabel] = key, l.Blob.String(), l.TOC.String()
	if s.lender != nil {
		labels[credentialsLabel] = s.lender.socket
	}
	return labels
}
