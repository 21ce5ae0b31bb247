package ladle

import (
	"context"
	"fmt"
	"strconv"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/leaseutil"
)

// mergeLabel begins the labels that ask for a merge: of the n-th pair, counted
// from 0, ladle.merge.<n>.lower and ladle.merge.<n>.upper are the keys. There
// is always an upper; a lower that is empty is left out.
const mergeLabel = "containerd.io/snapshot/ladle.merge."

// Pair is what the snapshot Upper has over the snapshot Lower. "" is an empty
// one.
type Pair = snapshot.Diff

// Labels are those that ask for the pairs in their order.
func Labels(pairs []Pair) map[string]string {
	labels := map[string]string{}
	for n, p := range pairs {
		prefix := mergeLabel + strconv.Itoa(n)
		labels[prefix+".upper"] = p.Upper
		if p.Lower != "" {
			labels[prefix+".lower"] = p.Lower
		}
	}
	return labels
}

// Merge makes the committed snapshot key of the diffs, one over the other. If
// ladle is asked, its Usage is what ladle says, else what BuildKit has noted.
func (s *Snapshotter) Merge(ctx context.Context, key string, diffs []snapshot.Diff, opts ...snapshots.Opt) error {
	if !s.merges(ctx) {
		return s.MergeSnapshotter.Merge(ctx, key, diffs, opts...)
	}
	parent, pairs, err := split(ctx, s.MergeSnapshotter, diffs)
	if err != nil {
		return err
	}
	// Nothing refers to the active snapshot.
	ctx, done, err := leaseutil.WithLease(ctx, s.leases, leaseutil.MakeTemporary)
	if err != nil {
		return fmt.Errorf("ladle: lease for the merge %s: %w", key, err)
	}
	defer func() {
		if err := done(context.WithoutCancel(ctx)); err != nil {
			bklog.G(ctx).WithError(err).Warn("a temporary lease remains until it expires")
		}
	}()
	active := identity.NewID()
	err = s.Prepare(ctx, active, parent, snapshots.WithLabels(Labels(pairs)))
	if errdefs.IsNotImplemented(err) {
		bklog.G(ctx).WithError(err).Warnf("BuildKit copies the merge %s", key)
		return s.MergeSnapshotter.Merge(ctx, key, diffs, opts...)
	}
	if err != nil {
		return fmt.Errorf("ladle: prepare the merge %s: %w", key, err)
	}
	if err := s.Commit(ctx, key, active, opts...); err != nil {
		return fmt.Errorf("ladle: commit the merge %s: %w", key, err)
	}
	return nil
}

// stater is what split asks.
type stater interface {
	Stat(ctx context.Context, key string) (snapshots.Info, error)
}

// split finds the first diffs that together are one snapshot, each from the
// one before to its child. That is the parent of the merge; the rest are pairs.
func split(ctx context.Context, s stater, diffs []snapshot.Diff) (parent string, pairs []Pair, err error) {
	for i, d := range diffs {
		if d.Lower != parent || d.Upper == "" {
			return parent, diffs[i:], nil
		}
		info, err := s.Stat(ctx, d.Upper)
		if err != nil {
			return "", nil, fmt.Errorf("ladle: %w", err)
		}
		if info.Parent != d.Lower {
			return parent, diffs[i:], nil
		}
		parent = d.Upper
	}
	return parent, nil, nil
}
