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

// mergeLabel begins the labels that request a merge (docs/protocol.md, "Merges"): n-th
// pair, counted from 0: ladle.merge.<n>.lower and ladle.merge.<n>.upper are its keys.
// upper is always present; an empty lower is left out.
const mergeLabel = "containerd.io/snapshot/ladle.merge."

// Pair is the diff between the snapshots Lower and Upper. "" is the empty snapshot.
type Pair = snapshot.Diff

// Labels returns the labels that request pairs, in order.
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

// Merge makes the committed snapshot key of the diffs, applied in order. If ladle makes
// it, its Usage is ladle's, else BuildKit's record of it.
func (s *Snapshotter) Merge(ctx context.Context, key string, diffs []snapshot.Diff, opts ...snapshots.Opt) error {
	if !s.merges(ctx) {
		return s.MergeSnapshotter.Merge(ctx, key, diffs, opts...)
	}
	parent, pairs, err := split(ctx, s.MergeSnapshotter, diffs)
	if err != nil {
		return err
	}
	// Without a lease, the active snapshot could be collected as garbage.
	ctx, done, err := leaseutil.WithLease(ctx, s.leases, leaseutil.MakeTemporary)
	if err != nil {
		return fmt.Errorf("ladle: lease for merge %s: %w", key, err)
	}
	defer func() {
		if err := done(context.WithoutCancel(ctx)); err != nil {
			bklog.G(ctx).WithError(err).Warn("ladle: temporary lease of a merge is not deleted before it expires")
		}
	}()
	active := identity.NewID()
	err = s.Prepare(ctx, active, parent, snapshots.WithLabels(Labels(pairs)))
	if errdefs.IsNotImplemented(err) {
		bklog.G(ctx).WithError(err).WithField("key", key).Warn("ladle: merge refused, BuildKit copies")
		return s.MergeSnapshotter.Merge(ctx, key, diffs, opts...)
	}
	if err != nil {
		return fmt.Errorf("ladle: prepare merge %s: %w", key, err)
	}
	if err := s.Commit(ctx, key, active, opts...); err != nil {
		return fmt.Errorf("ladle: commit merge %s: %w", key, err)
	}
	return nil
}

// stater is the method of a snapshotter that split needs.
type stater interface {
	Stat(ctx context.Context, key string) (snapshots.Info, error)
}

// split finds the longest beginning of diffs that equals one snapshot: each diff is from
// the upper of the one before to a child of it. That snapshot is the parent of the merge;
// the other diffs are its pairs.
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
