package snapshot

import (
	"context"
	"fmt"
	"maps"

	"github.com/containerd/containerd/v2/core/mount"

	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/stack"
)

// prepareMerge makes an active snapshot that shows, above its parent, the clean diffs of
// the pairs that the client requests.
func (s *Snapshotter) prepareMerge(ctx context.Context, m making, keys []merge.Keys) ([]mount.Mount, error) {
	var request stack.Merge
	call, err := s.planner.Begin(func(call *stack.Call) (err error) {
		request, err = s.readMerge(ctx, m, keys)
		call.Pin(request.Parent)
		for _, p := range request.Pairs {
			call.PinPair(p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	defer call.End(ctx)
	if m.stack, err = call.Merge(ctx, request); err != nil {
		return nil, fmt.Errorf("merge %q: %w", m.key, err)
	}
	labels, err := stackLabels(m.stack)
	if err != nil {
		return nil, err
	}
	maps.Copy(labels, m.labels)
	m.labels, m.chain = labels, request.Parent
	return s.create(ctx, m)
}

// readMerge finds the snapshots of a merge, in one transaction.
func (s *Snapshotter) readMerge(ctx context.Context, m making, keys []merge.Keys) (request stack.Merge, err error) {
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		all := newChains()
		if request.Parent, err = all.read(ctx, m.parent); err != nil {
			return err
		}
		for _, k := range keys {
			lower, err := s.find(ctx, all, m.key, k.Lower)
			if err != nil {
				return err
			}
			upper, err := s.find(ctx, all, m.key, k.Upper)
			if err != nil {
				return err
			}
			if k != (merge.Keys{}) {
				request.Pairs = append(request.Pairs, stack.PairOf(lower, upper))
			}
		}
		return nil
	})
	return request, err
}
