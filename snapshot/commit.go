package snapshot

import (
	"context"
	"fmt"
	"maps"
	"os"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// Commit makes the active snapshot key a committed one with the key name. It takes the same
// time whatever was written to the snapshot, since containerd calls it within a write
// transaction of its own: the size is computed when a client asks for it (Usage). The error
// is ErrFailedPrecondition if the snapshot cannot have the parent that opts name.
func (s *Snapshotter) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) (err error) {
	defer classifyFull(&err)
	info, err := infoOf(opts)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	var id number
	labels, err := s.commitLabels(ctx, key, info.Labels)
	if err != nil {
		return fmt.Errorf("commit snapshot %q: %w", key, err)
	}
	labels = markRemapped(name, key, labels)
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) (err error) {
		if err := checkParent(ctx, key, info.Parent); err != nil {
			return fmt.Errorf("commit snapshot %q: %w", key, err)
		}
		stored, err := storage.CommitActive(ctx, key, name, snapshots.Usage{},
			snapshots.WithLabels(labels), snapshots.WithParent(info.Parent))
		if err != nil {
			return fmt.Errorf("commit snapshot %q: %w", key, err)
		}
		id = numberOf(stored)
		s.clientKeys.add(name)
		return nil
	})
	if err != nil {
		return err
	}
	s.transient.replace(key, nil)
	s.release(ctx, id)
	s.sharing.End(uint64(id))
	return nil
}

// commitLabels returns the labels with which key is committed. Those of a merge have its
// stack.
func (s *Snapshotter) commitLabels(ctx context.Context, key string, client map[string]string) (map[string]string, error) {
	labels := storedLabels(client)
	var u usable
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		_, info, _, err := storage.GetInfo(ctx, key)
		if err != nil || info.Labels[stackLabel] == "" {
			return err
		}
		u, err = readUsable(ctx, key)
		return err
	})
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) {
		return labels, nil // CommitActive returns a better error
	}
	if err != nil || u.stack == nil {
		return labels, err
	}
	u.stack.Bare = s.isBare(ctx, u)
	own, err := stackLabels(u.stack)
	maps.Copy(own, labels)
	return own, err
}

// isBare reports whether a merge looks the same without its upper directory: that is empty,
// and its root has mode and owner of the topmost lower's. That of a mapped snapshot has
// another owner.
func (s *Snapshotter) isBare(ctx context.Context, u usable) bool {
	if len(u.stack.Lowers) == 0 || u.kind != snapshots.KindActive || !u.ids.IsNone() {
		return false
	}
	entries, err := os.ReadDir(s.upper(u.id))
	if err != nil || len(entries) > 0 {
		return false
	}
	lowerdirs, err := s.mountLowers(ctx, u, s.mountTree)
	if err != nil {
		return false
	}
	var ours, top unix.Stat_t
	if unix.Stat(s.upper(u.id), &ours) != nil || unix.Stat(lowerdirs[0], &top) != nil {
		return false
	}
	return ours.Mode == top.Mode && ours.Uid == top.Uid && ours.Gid == top.Gid
}

// release releases the trees of a snapshot that was committed or removed, of which the key
// is locked. That cannot be undone: an error is logged.
func (s *Snapshotter) release(ctx context.Context, id number) {
	s.releaseTrees(ctx, s.ownerOf(id))
}

func (s *Snapshotter) releaseTrees(ctx context.Context, owner string) {
	if err := s.opts.Trees.Release(context.WithoutCancel(ctx), owner); err != nil {
		log.G(ctx).WithError(err).WithField("owner", owner).Warn("cannot release the trees of a snapshot")
	}
}
