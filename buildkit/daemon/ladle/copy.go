package ladle

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// Labels of a copy (docs/protocol.md, "Copies"): the prefix of those that request it, and
// the one with which ladle answers.
const (
	copyLabel   = "containerd.io/snapshot/ladle.copy."
	copiedLabel = "containerd.io/snapshot/ladle.copied"
)

// remoteLabel is on snapshots of lazy layers.
const remoteLabel = "containerd.io/snapshot/remote"

// Copy is a copy of a path of one snapshot into a new one.
type Copy struct {
	From, Parent   string // keys; Parent is the parent of the new snapshot, "" for none
	Source, Target string // absolute; a Target that ends in a slash is a directory
}

func (c Copy) labels() map[string]string {
	return map[string]string{copyLabel + "from": c.From, copyLabel + "source": c.Source, copyLabel + "target": c.Target}
}

// copyKey is the key of an *asked in a context.
type copyKey struct{}

// asked is the copy that one Prepare is to request.
type asked struct {
	Copy
	requested atomic.Bool // by a Prepare
}

// WithCopy returns a context in which the next Prepare over c.Parent makes the copy c,
// and fails with ErrNotImplemented if that is impossible.
func WithCopy(ctx context.Context, c Copy) context.Context {
	return context.WithValue(ctx, copyKey{}, &asked{Copy: c})
}

// Copies reports whether the snapshotter can make copies.
func (s *Snapshotter) Copies(ctx context.Context) bool {
	return s.IdentityMapping() == nil && s.isLadle(ctx)
}

// IsLocal reports whether the snapshotter is ladle and the layer of the snapshot is not
// lazy. The files of a lazy layer are better read sequentially.
func (s *Snapshotter) IsLocal(ctx context.Context, key string) bool {
	if !s.Copies(ctx) {
		return false
	}
	info, err := s.MergeSnapshotter.Stat(ctx, key)
	return err == nil && info.Labels[remoteLabel] == ""
}

// Prepare makes the copy that ctx has, else it calls BuildKit's own. A Prepare of
// BuildKit to unpack a layer or for a merge is no copy. Prepare refuses BuildKit's own
// requests for lazy layers: Stat has made the snapshot if the layer can be lazy.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) error {
	if strings.HasPrefix(key, lazyKey) && s.isLadle(ctx) {
		return fmt.Errorf("ladle: layer of %q is not lazy: %w", key, errdefs.ErrNotImplemented)
	}
	a, ok := ctx.Value(copyKey{}).(*asked)
	if !ok || len(opts) > 0 || parent != a.Parent || strings.HasPrefix(key, "extract-") || a.requested.Swap(true) {
		return s.MergeSnapshotter.Prepare(ctx, key, parent, opts...)
	}
	if err := s.MergeSnapshotter.Prepare(ctx, key, parent, snapshots.WithLabels(a.labels())); err != nil {
		return err
	}
	info, err := s.MergeSnapshotter.Stat(ctx, key)
	if err != nil {
		return err
	}
	if info.Labels[copiedLabel] == "" { // BuildKit's garbage collection removes the snapshot
		return fmt.Errorf("ladle: the snapshotter ignored the labels of a copy: %w", errdefs.ErrNotImplemented)
	}
	return nil
}
