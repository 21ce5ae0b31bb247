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

// Worker lets members settle: their equal files come to be stored once. It is used by one
// goroutine at a time; after Start that is its own, and only Close may be called.
type Worker struct {
	sharing *Sharing
	members *members
	pool    *hardlink.Pool
	stop    func() // ends run, and waits for that; nil: it was not started
	// blocked are, by member that could not settle in full, the members that were shown
	// and have files equal to its own; failed are members that this process does not
	// settle again after an error.
	blocked map[uint64][]uint64
	failed  map[uint64]bool
}

// OpenWorker makes up for what an earlier Worker was interrupted in, and returns one. Close
// must be called at the end.
func (s *Sharing) OpenWorker() (*Worker, error) {
	m := &members{sharing: s}
	pool, err := hardlink.OpenPool(s.opts.Dir, hardlink.PoolOptions{Members: m, Single: WantsOneName, Link: s.opts.Link})
	if err != nil {
		return nil, err
	}
	return &Worker{sharing: s, members: m, pool: pool, blocked: map[uint64][]uint64{}, failed: map[uint64]bool{}}, nil
}

// Mend makes up for what an earlier Worker was interrupted in, if there was one.
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

// WantsOneName reports whether there may be programs that refuse the file at path, which
// is relative to the root of an image, if it has several names. Debian's cron refuses such
// tables (cron(8)); other programs do so below the same directories.
func WantsOneName(path string) bool {
	return strings.HasPrefix(path, "etc/") || strings.HasPrefix(path, "var/spool/")
}

// Start lets members settle in the background until Close is called, or ctx ends.
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

// Pass settles the members that can be settled now, and deletes what is recorded of
// snapshots that are gone. It reports whether another pass may settle more although no
// View ends until then.
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

// forget deletes what is recorded of snapshots that do not exist. exist are those that
// existed a moment ago.
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

// forgetPartners deletes those of gone from partners.db that nothing has come to have
// inodes of since they were found to be gone. A call that makes such a thing pins them
// until it is listed.
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
