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

// Layer is a layer of an image in a registry.
type Layer struct {
	Parent string        // key of the snapshot below, "" for none
	Blob   digest.Digest // of the layer
	TOC    digest.Digest // of its table of contents; "": the layer cannot be lazy
	// Labels identify the layer and its image for a remote snapshotter.
	Labels map[string]string
}

// refLabel is the key of the snapshot that a remote snapshotter is to make (containerd,
// docs/remote-snapshotter.md).
const refLabel = "containerd.io/snapshot.ref"

// blobLabel is the digest of a layer's blob (BuildKit's util/estargz/labels.go).
const blobLabel = "containerd.io/snapshot/remote/stargz.digest"

// lazyKey begins the keys of a Prepare of a lazy layer, those of BuildKit itself, too
// (cache/refs.go, prepareRemoteSnapshotsStargzMode).
const lazyKey = "tmp-"

// ladlePrefix begins the labels of ladle's own protocol.
const ladlePrefix = "containerd.io/snapshot/ladle."

// Announce stores the layer of the snapshot key, for a later Stat of that key.
func (s *Snapshotter) Announce(key string, l Layer) {
	if key != "" && len(l.Labels) > 0 {
		s.layers.Add(key, l)
	}
}

// prepareLayer requests a lazy snapshot of an announced layer over its parent, and
// reports whether it exists now. If not, BuildKit pulls the layer.
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
		// Not lazy: ladle prepared a snapshot to unpack into. BuildKit prepares
		// another one for that.
		s.layers.Remove(key)
		return false
	}
	bklog.G(ctx).WithError(err).WithField("key", key).Warn("ladle: layer is not lazy")
	return false
}

// labels returns the labels that request the lazy snapshot key of a layer. Labels of
// ladle's own protocol are removed: some of a layer's labels are annotations of its
// image, which must not request anything in BuildKit's name. The blob and the table of
// contents are those that the key was derived from: BuildKit stores one set of labels for
// each blob of an image, and an image can list a blob twice with different tables of
// contents.
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
