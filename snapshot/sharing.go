package snapshot

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/metastore"
	"github.com/ladle-dev/ladle/settle"
	"github.com/ladle-dev/ladle/stack"
)

// settleDir is the name, below the root of an endpoint, of the directory of package
// settle.
const settleDir = "settle"

// openSharing finds out which snapshots share inodes and what active snapshots and views
// show, and starts to settle snapshots if that is wanted. It is called before a client can
// reach the endpoint. That snapshots cannot be settled is logged, and no error.
func (s *Snapshotter) openSharing(ctx context.Context) (err error) {
	opts := settle.Options{
		Dir: filepath.Join(s.opts.Root, settleDir), Snapshots: stored{s.meta, s.pins, s.dirs},
		Name: s.opts.Name, Link: s.opts.settleByLink, Settles: s.opts.Settles,
	}
	if s.opts.Settle {
		opts.After = s.opts.SettleAfter
	}
	if s.sharing, err = settle.Open(ctx, opts); err != nil {
		return err
	}
	views, err := s.views(ctx)
	if err != nil {
		return err
	}
	for _, v := range views {
		if err := s.sharing.Begin(v); err != nil {
			return err
		}
	}
	if !s.opts.Settle {
		if err := s.sharing.Mend(); err != nil {
			log.G(ctx).WithError(err).Warn("cannot restore the times of directories in which settling was interrupted")
		}
		return nil
	}
	w, err := s.sharing.OpenWorker()
	if err != nil {
		log.G(ctx).WithError(err).Warn("equal files are not stored once")
		return nil
	}
	w.Start(context.WithoutCancel(ctx)) // it ends with the endpoint, not with the call that opens it
	s.worker = w
	return nil
}

func (s *Snapshotter) closeSharing() error {
	var err error
	if s.worker != nil {
		err = s.worker.Close()
	}
	if s.sharing != nil {
		err = errors.Join(err, s.sharing.Close())
	}
	return err
}

// views returns all active snapshots and views.
func (s *Snapshotter) views(ctx context.Context) (views []settle.View, err error) {
	infos, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		for _, info := range infos {
			if info.Kind == snapshots.KindCommitted {
				continue
			}
			u, err := readUsable(ctx, info.Name)
			if err != nil {
				return err
			}
			views = append(views, u.view())
		}
		return nil
	})
	return views, err
}

// view returns what u shows, and whether programs may run in it.
func (u usable) view() settle.View {
	id := uint64(u.id)
	v := settle.View{
		ID: id, Dirs: append(stack.Uppers(u.lowers), id), Sources: stack.Sources(u.lowers),
		Runs: u.kind == snapshots.KindActive && u.copied == nil, Merged: u.stack != nil,
	}
	if u.copied != nil {
		v.Copied = *u.copied
	}
	return v
}

// stored implements settle.Snapshots.
type stored struct {
	meta *metastore.Store
	pins *stack.Pins
	dirs stack.Dirs
}

// List implements settle.Snapshots.
func (s stored) List(ctx context.Context) (all []settle.Snapshot, err error) {
	infos, ids, err := listIDs(ctx, s.meta)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		id := ids[info.Name]
		l, err := inChain(id, info)
		if err != nil {
			return nil, err
		}
		all = append(all, settle.Snapshot{
			ID: uint64(id), Parent: uint64(ids[info.Parent]), Member: !l.Remote && info.Kind == snapshots.KindCommitted,
			Dirs: stack.Uppers(l.Lowers()), Sources: stack.Sources(l.Lowers()),
		})
	}
	return all, nil
}

// Dir implements settle.Snapshots.
func (s stored) Dir(id uint64) string { return s.dirs.Upper(id) }

// Pinned implements settle.Snapshots.
func (s stored) Pinned(id uint64) bool { return s.pins.MayHave(id) }

// Sync implements settle.Snapshots.
func (s stored) Sync(ctx context.Context) error { return s.meta.Sync(ctx) }
