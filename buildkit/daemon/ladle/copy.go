package ladle

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
)

// Labels of a copy (ladle's package merge has the protocol): those that ask, and
// the one by which ladle says that it did what was asked.
const (
	copyLabel   = "containerd.io/snapshot/ladle.copy."
	copiedLabel = "containerd.io/snapshot/ladle.copied"
)

// remoteLabel is on snapshots whose files are lazy.
const remoteLabel = "containerd.io/snapshot/remote"

// Copy is a copy of a path of one snapshot into a new one.
type Copy struct {
	From, Parent   string // keys; Parent is what the new one lies over, "" for nothing
	Source, Target string // absolute; a Target with a slash at the end is a directory
}

func (c Copy) labels() map[string]string {
	return map[string]string{copyLabel + "from": c.From, copyLabel + "source": c.Source, copyLabel + "target": c.Target}
}

// copyKey is of contexts.
type copyKey struct{}

// asked is a copy that one Prepare asks for.
type asked struct {
	Copy
	taken atomic.Bool
}

// WithCopy returns a context in which the next snapshot that is prepared over
// c.Parent for being written to is c. If it cannot be, Prepare fails with
// ErrNotImplemented.
func WithCopy(ctx context.Context, c Copy) context.Context {
	return context.WithValue(ctx, copyKey{}, &asked{Copy: c})
}

// Copies reports whether the snapshotter makes copies at all.
func (s *Snapshotter) Copies(ctx context.Context) bool {
	return s.IdentityMapping() == nil && s.isLadle(ctx)
}

// IsLocal reports whether ladle has a snapshot, and its own files are not lazy:
// those are better read one after the other.
func (s *Snapshotter) IsLocal(ctx context.Context, key string) bool {
	if !s.Copies(ctx) {
		return false
	}
	info, err := s.MergeSnapshotter.Stat(ctx, key)
	return err == nil && info.Labels[remoteLabel] == ""
}

// Prepare makes the copy that ctx asks for, or what BuildKit's own does. What
// BuildKit prepares to unpack a layer or for a merge is no copy. Nor is it asked
// for a lazy layer here: if there can be one, Stat has made it.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) error {
	if strings.HasPrefix(key, lazyKey) && s.isLadle(ctx) {
		return fmt.Errorf("ladle: the layer of %q is not lazy: %w", key, errdefs.ErrNotImplemented)
	}
	a, ok := ctx.Value(copyKey{}).(*asked)
	if !ok || len(opts) > 0 || parent != a.Parent || strings.HasPrefix(key, "extract-") || a.taken.Swap(true) {
		return s.MergeSnapshotter.Prepare(ctx, key, parent, opts...)
	}
	if err := s.MergeSnapshotter.Prepare(ctx, key, parent, snapshots.WithLabels(a.labels())); err != nil {
		return err
	}
	info, err := s.MergeSnapshotter.Stat(ctx, key)
	if err != nil {
		return err
	}
	if info.Labels[copiedLabel] == "" { // what it prepared is collected as garbage
		return fmt.Errorf("ladle: a snapshotter that knows no copies: %w", errdefs.ErrNotImplemented)
	}
	return nil
}
