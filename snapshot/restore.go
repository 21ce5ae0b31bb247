package snapshot

import (
	"context"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"
)

// parallelRestores bounds the snapshots whose trees are mounted at once.
const parallelRestores = 8

// restore claims the layers of all snapshots, passes on the offers of credentials that are
// stored with remote snapshots, and mounts the trees of all active snapshots and views: a
// client may have mounted them, or be about to, after an answer of an earlier process.
func (s *Snapshotter) restore(ctx context.Context) error {
	infos, err := s.list(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(parallelRestores)
	for _, info := range infos {
		for _, layer := range claimedBy(ctx, info) {
			s.opts.Claims.Claim(layer)
		}
		if req, _, err := parseRequest(info.Labels); err == nil {
			s.offer(info.Labels, req)
		}
		if info.Kind == snapshots.KindCommitted {
			continue
		}
		group.Go(func() error {
			if err := s.remount(ctx, info.Name); err != nil {
				log.G(ctx).WithError(err).WithField("key", info.Name).Warn("snapshot cannot be mounted")
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (s *Snapshotter) remount(ctx context.Context, key string) error {
	var u usable
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		u, err = readUsable(ctx, key)
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.mountLowers(ctx, u, s.opts.Trees.Mount) // without network
	return err
}
