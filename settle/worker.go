package settle

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/hardlink"
)

// Worker settles members: it makes their equal files hard links to one inode, or lets them
// share extents. It is used by one goroutine at a time; after Start only Close may be called.
type Worker struct {
	sharing *Sharing
	members *members
	pool    *hardlink.Pool
	stop    func() // ends run, and waits for that; nil: it was not started
	// blocked has, by member that did not settle in full, the members with equal files
	// that were shown then; failed has members that this process does not settle again,
	// after an error.
	blocked map[uint64][]uint64
	failed  map[uint64]bool
}

// OpenWorker repairs what an interrupted Worker has left (hardlink.OpenPool), and returns a
// new one. Close must be called at the end.
func (s *Sharing) OpenWorker() (*Worker, error) {
	m := &members{sharing: s}
	pool, err := hardlink.OpenPool(s.opts.Dir, hardlink.PoolOptions{Members: m, Single: WantsOneName, Link: s.opts.Link})
	if err != nil {
		return nil, err
	}
	return &Worker{sharing: s, members: m, pool: pool, blocked: map[uint64][]uint64{}, failed: map[uint64]bool{}}, nil
}

// Mend repairs what an interrupted Worker has left, if there ever was a Worker.
func (s *Sharing) Mend() error {
	if !hardlink.IsPool(s.opts.Dir) {
		return nil
	}
	w, err := s.OpenWorker()
	if err != nil {
		return err
	}
	return w.Close()
}

// WantsOneName reports whether programs may refuse the file at path, which is relative to the
// root of an image, if it has several names. Debian's cron refuses such tables (cron(8)), and
// other programs such files below the same directories.
func WantsOneName(path string) bool {
	return strings.HasPrefix(path, "etc/") || strings.HasPrefix(path, "var/spool/")
}

// Start settles members in the background until Close is called, or ctx ends.
func (w *Worker) Start(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-done
	}
}

// Close ends the Worker. Files that became one inode stay one.
func (w *Worker) Close() error {
	if w.stop != nil {
		w.stop()
	}
	return w.pool.Close()
}

// run makes passes until ctx ends. Its thread has the lowest priority.
func (w *Worker) run(ctx context.Context) {
	if err := w.members.thread.lower(); err != nil {
		log.G(ctx).WithError(err).Debug("settling has ordinary priority")
	}
	for {
		again := false
		err := guarded(func() (err error) {
			again, err = w.Pass(ctx)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.G(ctx).WithError(err).Warn("snapshots are not settled")
		}
		if !again {
			select {
			case <-ctx.Done():
				return
			case <-w.sharing.freed:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(w.sharing.opts.After):
		}
	}
}

// Pass settles the members that can be settled now, and deletes the records of snapshots that
// do not exist any more. again says that another pass may settle more, also if no View ends
// until then.
func (w *Worker) Pass(ctx context.Context) (again bool, err error) {
	w.members.list = func() ([]Snapshot, error) { return w.sharing.opts.Snapshots.List(ctx) }
	all, err := w.members.list()
	if err != nil {
		return false, err
	}
	members := map[uint64]bool{}
	for _, s := range all {
		if s.Member {
			members[s.ID] = true // what is committed stays so
		}
	}
	settled, err := w.pool.Keep(func(id uint64) bool { return members[id] })
	if err != nil {
		return false, err
	}
	maps.DeleteFunc(w.blocked, func(id uint64, _ []uint64) bool { return !members[id] })
	if err := w.forget(ctx, existing(all)); err != nil {
		return false, err
	}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		if settled[id] || w.failed[id] {
			continue
		}
		if !w.isReady(id) {
			shown, _ := w.sharing.shown.of(id)
			again = again || shown == 0
			continue
		}
		// After a reset of the machine it must not be active again.
		if err := w.sync(ctx); err != nil {
			return false, err
		}
		if err := w.settle(ctx, id); err != nil {
			return false, err
		}
	}
	return again, nil
}

func (w *Worker) sync(ctx context.Context) error {
	return w.members.thread.hurry(func() error { return w.sharing.opts.Snapshots.Sync(ctx) })
}

// isReady reports whether a member can be settled now.
func (w *Worker) isReady(id uint64) bool {
	if w.pool.Shares() {
		return true // nothing that can be seen of its files changes
	}
	blocked := w.blocked[id]
	return w.sharing.free(id) && (len(blocked) == 0 || slices.ContainsFunc(blocked, w.sharing.free))
}

func (w *Worker) settle(ctx context.Context, id uint64) error {
	began := time.Now()
	var r hardlink.Reached
	err := guarded(func() (err error) {
		r, err = w.pool.Settle(ctx, id)
		return err
	})
	w.sharing.opts.Settles.Linked(r.Linked.Files, r.Linked.Bytes)
	w.sharing.opts.Settles.Shared(r.Shared.Files, r.Shared.Bytes)
	w.blocked[id] = r.Blocked
	logger := log.G(ctx).WithField("snapshot", w.sharing.name(id))
	if r.Linked.Files > 0 || r.Shared.Files > 0 {
		logger.WithField("files", r.Linked.Files+r.Shared.Files).WithField("bytes", r.Linked.Bytes+r.Shared.Bytes).
			WithField("took", time.Since(began)).Info("equal files are stored once")
	}
	switch {
	case err == nil, errors.Is(err, hardlink.ErrInUse), errors.Is(err, fs.ErrNotExist):
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		w.failed[id] = true
		logger.WithError(err).Warn("snapshot is not settled")
	}
	return nil
}

// forget deletes the records of snapshots that do not exist. exist has the snapshots that
// List has just returned.
func (w *Worker) forget(ctx context.Context, exist hardlink.Sources) error {
	w.members.census = census{} // snapshots may have been made since it was taken
	w.sharing.shown.forget(w.sharing.opts.After)
	gone := w.sharing.partners.gone(exist)
	if len(gone) == 0 {
		return nil
	}
	// After a reset of the machine they must not exist again, without their partners.
	if err := w.sync(ctx); err != nil {
		return err
	}
	return w.members.thread.hurry(func() error { return w.forgetPartners(ctx, gone) })
}

// forgetPartners deletes the snapshots in gone from partners.db, except those of which a new
// snapshot has inodes since gone was computed. A call that makes such a snapshot pins them
// until List returns it.
func (w *Worker) forgetPartners(ctx context.Context, gone hardlink.Sources) error {
	w.sharing.replacing.Lock()
	defer w.sharing.replacing.Unlock()
	all, err := w.sharing.opts.Snapshots.List(ctx)
	if err != nil {
		return err
	}
	exist := existing(all)
	maps.DeleteFunc(gone, func(id uint64, _ bool) bool { return exist.Has(id) || w.sharing.opts.Snapshots.Pinned(id) })
	return w.sharing.partners.forget(gone)
}
