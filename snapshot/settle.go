package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"

	"github.com/ladle-dev/ladle/hardlink"
)

// settleDir is the name, below the root of an endpoint, of what settling keeps.
const settleDir = "settle"

// settler lets the upper directories of committed snapshots store equal files
// once, in the background: they settle. What it may touch is in settlers.go.
type settler struct {
	*settlers
	pool *hardlink.Pool
	stop func() // and wait until it has
	// blocked are, of snapshots that could not settle in full, those whose
	// mounts were in the way; failed are those that will not be tried again
	// by this process. Only the worker has them.
	blocked map[uint64][]uint64
	failed  map[uint64]bool
}

// startSettling makes up for what an earlier process was interrupted in, and
// starts to settle snapshots if that is wanted. It is called before anybody can
// see a snapshot. What goes wrong with it is no reason not to serve.
func (s *Snapshotter) startSettling(ctx context.Context) error {
	dir := filepath.Join(s.opts.Root, settleDir)
	if err := s.settlers.restore(ctx, s, dir); err != nil {
		return err
	}
	if _, err := os.Lstat(dir); !s.opts.Settle && errors.Is(err, fs.ErrNotExist) {
		return nil // and nothing ever did
	}
	// It lives as long as the endpoint, not as the call that opens it.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w, err := s.newSettler(work, dir)
	if err != nil {
		cancel()
		log.G(ctx).WithError(err).Warn("equal files are not stored once")
		return nil
	}
	if !s.opts.Settle {
		cancel()
		return w.pool.Close()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(work)
	}()
	w.stop = func() {
		cancel()
		<-done
	}
	s.settler = w
	return nil
}

func (s *Snapshotter) newSettler(ctx context.Context, dir string) (*settler, error) {
	s.settlers.look = func() (map[uint64][]uint64, error) { return s.together(ctx) }
	pool, err := hardlink.OpenPool(dir, hardlink.PoolOptions{
		Members: &s.settlers, Single: wantsOneName, Link: s.opts.settleByLink,
	})
	return &settler{settlers: &s.settlers, pool: pool, blocked: map[uint64][]uint64{}, failed: map[uint64]bool{}}, err
}

// stopSettling ends the worker, if there is one.
func (s *Snapshotter) stopSettling() error {
	if s.settler == nil {
		return nil
	}
	s.settler.stop()
	return s.settler.pool.Close()
}

// wantsOneName reports whether there are programs that refuse a file at path if
// it has several names. Debian's cron does, of its tables (cron(8)); others do
// so below the same directories.
func wantsOneName(path string) bool {
	return strings.HasPrefix(path, "etc/") || strings.HasPrefix(path, "var/spool/")
}

// run settles snapshots until ctx ends. Its thread has the lowest priority for
// processor and disk, and ends with it.
func (w *settler) run(ctx context.Context) {
	runtime.LockOSThread()
	err := setPriority(lowest)
	if w.yields = err == nil; !w.yields {
		log.G(ctx).WithError(err).Debug("settling has ordinary priority")
	}
	for {
		again := false
		err := guarded(func() (err error) {
			again, err = w.pass(ctx)
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
			case <-w.changed:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(w.s.opts.SettleAfter):
		}
	}
}

// guarded runs do, and returns as an error what it panics with, a fault in the
// mapped file of the pool's index included: settling only saves space, and what is
// wrong with it must not end the process that serves files.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return do()
}

// priority is that of a thread for processor (setpriority(2), nice) and disk
// (ioprio_set(2): IOPRIO_WHO_PROCESS is 1, IOPRIO_CLASS_IDLE is 3, above 13 bits).
type priority struct{ nice, io int }

var (
	ordinary = priority{}
	lowest   = priority{nice: 19, io: 3 << 13}
)

// setPriority sets the priority of the calling thread.
func setPriority(p priority) error {
	err := unix.Setpriority(unix.PRIO_PROCESS, 0, p.nice)
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, 1, 0, uintptr(p.io)); errno != 0 {
		err = errors.Join(err, errno)
	}
	return err
}

// pass settles what can be. It reports whether something may be possible soon
// though no snapshot changes.
func (w *settler) pass(ctx context.Context) (again bool, err error) {
	// What is listed as committed stays so.
	committed, all, err := w.s.committed(ctx)
	if err != nil {
		return false, err
	}
	settled, err := w.pool.Keep(func(id uint64) bool { return committed[id] })
	if err != nil {
		return false, err
	}
	if err := w.keep(ctx, all); err != nil {
		return false, err
	}
	for _, id := range slices.Sorted(maps.Keys(committed)) {
		if settled[id] || w.failed[id] {
			continue
		}
		if w.waits(id) {
			again = again || !w.isShown(id)
			continue
		}
		// Nor may it be active again after a reset of the machine.
		if err := w.hurry(func() error { return w.s.meta.Sync(ctx) }); err != nil {
			return false, err
		}
		if err := w.settle(ctx, id); err != nil {
			return false, err
		}
	}
	return again, nil
}

// waits reports whether there is no use in settling a snapshot now.
func (w *settler) waits(id uint64) bool {
	if w.pool.Shares() {
		return false
	}
	blocked := w.blocked[id]
	return !w.Free(id) || len(blocked) > 0 && !slices.ContainsFunc(blocked, w.Free)
}

func (w *settler) settle(ctx context.Context, id uint64) error {
	began := time.Now()
	var r hardlink.Reached
	err := guarded(func() (err error) {
		r, err = w.pool.Settle(ctx, id)
		return err
	})
	w.s.opts.Settles.Linked(r.Linked.Files, r.Linked.Bytes)
	w.s.opts.Settles.Shared(r.Shared.Files, r.Shared.Bytes)
	w.blocked[id] = r.Blocked
	logger := log.G(ctx).WithField("snapshot", w.s.owner(itoa(id)))
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

// committed returns the local committed snapshots, and all: also those whose files
// only the stacks of merges have.
func (s *Snapshotter) committed(ctx context.Context) (local, all sources, err error) {
	infos, ids, err := s.listIDs(ctx)
	if err != nil {
		return nil, nil, err
	}
	local, all = sources{}, sources{}
	for _, info := range infos {
		id := ids[info.Name]
		all[id] = true
		st, err := stackOf(info)
		if err != nil {
			return nil, nil, err
		}
		if st != nil {
			maps.Copy(all, membersOf(st.lowers))
		}
		if _, remote := layerOf(info); !remote && info.Kind == snapshots.KindCommitted {
			local[id] = true
		}
	}
	return local, all, nil
}

// current returns all snapshots that may share inodes.
func (s *Snapshotter) current(ctx context.Context) ([]uint64, error) {
	_, all, err := s.committed(ctx)
	delete(all, allSnapshots)
	return all.list(), err
}

func itoa(id uint64) string { return strconv.FormatUint(id, 10) }
