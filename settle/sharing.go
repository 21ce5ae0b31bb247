package settle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/log"
	"golang.org/x/sync/semaphore"

	"github.com/ladle-dev/ladle/hardlink"
	"github.com/ladle-dev/ladle/metrics"
)

// Options say what a Sharing is made of. Dir and Snapshots are needed.
type Options struct {
	Dir       string // of partners.db and the pool
	Snapshots Snapshots
	Name      string        // first part of the name of a snapshot in logs
	After     time.Duration // a member settles when no View has shown it for so long
	// Link lets the worker make hard links also where the filesystem could share
	// extents, which it does otherwise.
	Link    bool
	Settles *metrics.Settles // nil: not counted
}

// Sharing decides which snapshots of an endpoint may share inodes. It may be used
// concurrently.
type Sharing struct {
	opts     Options
	started  time.Time
	partners partners
	shown    shown
	merges   atomic.Uint64 // Views that were merged
	freed    chan struct{} // has room for one: a View has ended
	// names is held by a call that decides by the number of names of files.
	names *semaphore.Weighted
	// replacing is held for writing while files are replaced, and for reading
	// while a snapshot is made.
	replacing sync.RWMutex
}

// Open returns the Sharing of an endpoint. Begin must be called for each View there is
// before another method is, and Close at the end.
func Open(ctx context.Context, opts Options) (*Sharing, error) {
	s := &Sharing{opts: opts, started: time.Now(), freed: make(chan struct{}, 1), names: semaphore.NewWeighted(1)}
	s.shown.init()
	err := s.partners.open(opts.Dir, func() ([]uint64, error) {
		all, err := opts.Snapshots.List(ctx)
		exist := existing(all)
		delete(exist, hardlink.Unknown)
		if len(exist) > 1 {
			log.G(ctx).WithField("endpoint", opts.Name).
				Warn("the list of snapshots that share inodes is damaged or missing: all snapshots count as sharing some")
		}
		return exist.List(), err
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes partners.db. The Worker, if there is one, was closed before.
func (s *Sharing) Close() error { return s.partners.close() }

// Make runs do, which makes a snapshot and returns its View, and then notes the View as
// Begin does. No file is replaced from before do runs until the View is noted. If do
// returns an error, so does Make, and nothing is noted; after any other error of Make the
// snapshot exists, and must be removed and ended.
func (s *Sharing) Make(do func() (View, error)) error {
	v, err := s.makeView(do)
	if err != nil {
		return err
	}
	return s.noteCopy(v)
}

func (s *Sharing) makeView(do func() (View, error)) (View, error) {
	s.replacing.RLock()
	defer s.replacing.RUnlock()
	v, err := do()
	if err == nil {
		s.noteShown(v)
	}
	return v, err
}

// Begin notes what a View shows until End is called. When it returns nil, the partners
// of a copy are on disk.
func (s *Sharing) Begin(v View) error {
	s.noteShown(v)
	return s.noteCopy(v)
}

func (s *Sharing) noteShown(v View) {
	s.shown.begin(v)
	if v.Merged {
		s.merges.Add(1)
	}
}

func (s *Sharing) noteCopy(v View) error {
	if len(v.Copied.From) == 0 {
		return nil
	}
	return s.partners.addCopy(v.ID, v.Copied)
}

// End is called when a snapshot was removed or committed, and is no View any more. It may be
// called for a snapshot that was never a View.
func (s *Sharing) End(id uint64) {
	s.shown.end(id, s.opts.After > 0)
	select {
	case s.freed <- struct{}{}:
	default: // the worker has not received the one before yet
	}
}

// free reports whether a member is free: it is not pinned, no View shows it, and none has for
// Options.After.
func (s *Sharing) free(id uint64) bool {
	if s.opts.Snapshots.Pinned(id) {
		return false
	}
	count, ended := s.shown.of(id)
	if ended.IsZero() {
		ended = s.started
	}
	return count == 0 && time.Since(ended) >= s.opts.After
}

// MustBeApart returns which diffs of a merge must be made of copies of files. parent has the
// snapshots of which the merge's parent shows inodes, and diffs those of each diff, the
// lowest first. A diff must be copied if one of its snapshots is a partner of one of the
// parent or of a diff below it. The members of diffs are pinned until the merge is made.
func (s *Sharing) MustBeApart(parent hardlink.Sources, diffs []hardlink.Sources) []bool {
	s.waitReplaced()
	apart := make([]bool, len(diffs))
	partners := s.partners.of(parent)
	for i, sources := range diffs {
		if apart[i] = partners.Meets(sources); !apart[i] {
			partners = partners.With(s.partners.of(sources))
		}
	}
	return apart
}

// waitReplaced waits for replacements of files that began before the caller pinned members.
// They take a moment.
func (s *Sharing) waitReplaced() {
	s.replacing.RLock()
	defer s.replacing.RUnlock()
}

// LockNames lets the caller rely on the number of names of files: no other caller adds names
// until unlock is called. The error is that of ctx.
func (s *Sharing) LockNames(ctx context.Context) (unlock func(), err error) {
	if err := s.names.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	// A replacement may have begun before the caller pinned what it reads.
	s.waitReplaced()
	return func() { s.names.Release(1) }, nil
}

// name returns what logs call a snapshot.
func (s *Sharing) name(id uint64) string { return fmt.Sprintf("%s/%d", s.opts.Name, id) }
