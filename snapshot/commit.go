package snapshot

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/log"
)

// Commit makes the active snapshot key a committed one, called name. It takes
// the same time whatever was written to the snapshot, since containerd calls
// it within a write transaction of its own: its size is found out when somebody
// asks for it.
func (s *Snapshotter) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	info, err := infoOf(opts)
	if err != nil {
		return err
	}
	defer s.lock(key)()
	var id string
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) (err error) {
		id, err = storage.CommitActive(ctx, key, name, snapshots.Usage{},
			snapshots.WithLabels(kept(info.Labels)), snapshots.WithParent(info.Parent))
		if err != nil {
			return fmt.Errorf("commit snapshot %q: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.passing.replace(key, nil)
	s.release(ctx, id)
	return nil
}

// release gives back the trees of a snapshot that is no longer usable. That
// cannot be undone, so an error is only logged. The caller has locked the key.
func (s *Snapshotter) release(ctx context.Context, id string) {
	if err := s.opts.Trees.Release(context.WithoutCancel(ctx), s.owner(id)); err != nil {
		log.G(ctx).WithError(err).WithField("owner", s.owner(id)).Warn("trees are not released")
	}
}
