package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/ladle-dev/ladle/durable"
	"github.com/ladle-dev/ladle/keylock"
	"github.com/ladle-dev/ladle/metastore"
	"github.com/ladle-dev/ladle/metrics"
	"github.com/ladle-dev/ladle/settle"
	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// Options say what an endpoint is made of. Root, Layers and Trees are needed.
type Options struct {
	Root   string // directory of the endpoint, made if it is not there
	Name   string // first part of the owner names given to Trees; empty: last part of Root
	Layers Layers
	Trees  Trees

	// Claims are shared by all endpoints over one store. Nil: there is no
	// other endpoint.
	Claims *Claims
	// Drop is called at the end of each Cleanup: it may drop from the store
	// every layer for which claimed returns false. All endpoints over the
	// store must exist before. Nil: nothing is dropped.
	Drop func(ctx context.Context, claimed func(store.ID) bool) error
	// OpenTimeout bounds Layers.Open; then the layer is prepared as
	// overlayfs would. Zero: one minute.
	OpenTimeout time.Duration
	Prepares    *metrics.Prepares // nil: not counted
	// Xino is one of XinoAuto, XinoOn and XinoOff. Empty: XinoAuto.
	Xino string

	Settling
}

// Settling is how snapshots settle.
type Settling struct {
	// Settle lets equal files of committed snapshots be stored once.
	Settle bool
	// SettleAfter is how long a snapshot must not have been in use before
	// its files are replaced. Zero: ten seconds.
	SettleAfter  time.Duration
	Settles      *metrics.Settles // nil: not counted
	settleByLink bool             // also where extents can be shared; for tests
}

// Snapshotter is one endpoint. It implements snapshots.Snapshotter and
// snapshots.Cleaner and may be used concurrently.
//
// Calls that name the same key run one after the other, so that no tree is mounted for a
// snapshot that was removed meanwhile. No tree is mounted, no layer opened and no directory
// deleted within a transaction. The order of locks is in the package comment.
type Snapshotter struct {
	opts Options
	dirs stack.Dirs
	meta *metastore.Store
	overlay
	keys       keylock.Locks[string]
	clientKeys clientKeys
	transient  transient
	pins       *stack.Pins
	planner    *stack.Planner

	sweeping chan struct{} // full during a sweep

	sharing *settle.Sharing
	worker  *settle.Worker // nil if nothing settles
}

// overlay is how overlay mounts are made.
type overlay struct {
	options []string // of every one
	xino    xino
}

var (
	_ snapshots.Snapshotter = (*Snapshotter)(nil)
	_ snapshots.Cleaner     = (*Snapshotter)(nil)
)

// New opens or makes the endpoint at opts.Root. The trees of all its active
// snapshots and views are mounted again, without network; a snapshot whose
// layers cannot be mounted stays, and its Mounts returns the error.
func New(ctx context.Context, opts Options) (*Snapshotter, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	s := &Snapshotter{
		opts:     opts,
		dirs:     stack.Dirs(filepath.Join(opts.Root, "snapshots")),
		sweeping: make(chan struct{}, 1),
	}
	s.pins = stack.NewPins(opts.Claims)
	var err error
	if err = s.makeDirs(); err != nil {
		return nil, err
	}
	if s.options, err = overlayOptions(opts.Root); err != nil {
		return nil, err
	}
	if s.xino, err = newXino(opts.Xino, xinoParameter); err != nil {
		return nil, err
	}
	if s.meta, err = s.openMetadata(ctx); err != nil {
		return nil, fmt.Errorf("open metadata of %s: %w", opts.Root, err)
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Snapshotter) start(ctx context.Context) error {
	if err := s.initMetadata(ctx); err != nil {
		return fmt.Errorf("open metadata of %s: %w", s.opts.Root, err)
	}
	if err := s.skipNumbers(ctx); err != nil && !durable.NoSpace(err) {
		return fmt.Errorf("open metadata of %s: %w", s.opts.Root, err)
	}
	if err := s.openSharing(ctx); err != nil {
		return err
	}
	if err := s.openPlanner(ctx); err != nil {
		return err
	}
	if err := s.restore(ctx); err != nil {
		return err
	}
	if err := s.sweep(ctx); err != nil {
		log.G(ctx).WithError(err).Warn("cannot delete directories of removed snapshots")
	}
	return ctx.Err()
}

func (s *Snapshotter) openPlanner(ctx context.Context) error {
	var used uses
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		used, err = readUses(ctx)
		return err
	})
	if err != nil {
		return err
	}
	s.planner, err = stack.Open(ctx, stack.Options{
		Dirs: s.dirs, Pins: s.pins, Trees: callTrees{s}, Sharing: s.sharing,
		UserXattr: slices.Contains(s.options, "userxattr"),
	}, used.hasDiff)
	return err
}

func (o *Options) complete() error {
	if o.Root == "" || o.Layers == nil || o.Trees == nil {
		return errors.New("snapshot: Root, Layers and Trees are needed")
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return err
	}
	// They separate options and lowerdirs, and not every client escapes them.
	if strings.ContainsAny(root, `:,\`) {
		return fmt.Errorf("root %q: a path in overlay options must not contain ':', ',' or '\\'", root)
	}
	o.Root = root
	if o.Name == "" {
		o.Name = filepath.Base(root)
	}
	if o.Claims == nil {
		o.Claims = NewClaims()
	}
	if o.OpenTimeout == 0 {
		o.OpenTimeout = time.Minute
	}
	if o.SettleAfter == 0 {
		o.SettleAfter = 10 * time.Second
	}
	return nil
}

func (s *Snapshotter) makeDirs() error {
	if err := os.MkdirAll(string(s.dirs), 0o700); err != nil {
		return err
	}
	// Where the root is there are few names: it reads past the last of many
	// (continuity v0.5.0, fs/dtype_linux.go; -race says so).
	ok, err := fs.SupportsDType(s.opts.Root)
	if err != nil {
		return fmt.Errorf("probe %s: %w", s.opts.Root, err)
	}
	if !ok {
		return fmt.Errorf("the filesystem of %s has no d_type, which overlayfs needs (xfs: format with ftype=1)", string(s.dirs))
	}
	return nil
}

// overlayOptions returns what containerd's overlayfs snapshotter adds to every
// overlay mount, and nothing else: see xino.of.
func overlayOptions(root string) ([]string, error) {
	var options []string
	if _, err := os.Stat("/sys/module/overlay/parameters/index"); err == nil {
		options = append(options, "index=off")
	}
	userxattr, err := overlayutils.NeedsUserXAttr(root)
	if err != nil {
		return nil, fmt.Errorf("probe overlayfs at %s: %w", root, err)
	}
	if userxattr {
		options = append(options, "userxattr")
	}
	return options, nil
}

// openMetadata opens the metadata, which need not exist.
func (s *Snapshotter) openMetadata(ctx context.Context) (*metastore.Store, error) {
	boot, err := durable.BootID()
	if err != nil {
		return nil, err
	}
	return metastore.Open(ctx, s.opts.Root, metastore.Options{
		BootID: boot, Named: []string{string(s.dirs), s.dirs.Diff("")}, Orphans: s.hasDirectories,
	})
}

// initMetadata makes the buckets of new metadata, without which storage
// answers ErrNotFound to questions about all snapshots. Only making a snapshot
// makes them. It writes to no other metadata: the disk may be full.
func (s *Snapshotter) initMetadata(ctx context.Context) error {
	err := s.meta.WithTransaction(ctx, false, func(ctx context.Context) error {
		if _, err := storage.IDMap(ctx); err != nil {
			return err
		}
		return s.clientKeys.reset(ctx) // nobody writes yet
	})
	if !errdefs.IsNotFound(err) {
		return err
	}
	return s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		if _, err := storage.CreateSnapshot(ctx, snapshots.KindActive, "first", ""); err != nil {
			return err
		}
		if _, _, err := storage.Remove(ctx, "first"); err != nil {
			return err
		}
		return s.clientKeys.reset(ctx)
	})
}

// skipNumbers makes sure that no number is used twice when metadata was lost
// that had used it: whatever is on disk of such a snapshot is not the next one's.
// It is called before a number is used, since there may have been no space at the start.
func (s *Snapshotter) skipNumbers(ctx context.Context) error {
	if !s.meta.Lost() {
		return nil
	}
	entries, err := os.ReadDir(string(s.dirs))
	if err != nil {
		return err
	}
	used := func(id number) bool {
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return isNewer(e.Name(), id) })
	}
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		for {
			made, err := storage.CreateSnapshot(ctx, snapshots.KindActive, "next", "")
			if err != nil {
				return err
			}
			if _, _, err = storage.Remove(ctx, "next"); err != nil {
				return err
			}
			if !used(numberOf(made.ID)) {
				return nil
			}
		}
	})
	if err == nil {
		s.meta.ClearLost()
	}
	return err
}

// isNewer reports whether name is a number, and larger than id.
func isNewer(name string, id number) bool {
	n, err := parseNumber(name)
	return err == nil && n > id
}

// Close closes the metadata. What is mounted stays mounted.
func (s *Snapshotter) Close() error {
	return errors.Join(s.closeSharing(), s.meta.Close())
}

// lock begins a call that names key; unlock ends it. Another call that names key may be
// waiting for a registry: lock waits for it as long as ctx lasts.
func (s *Snapshotter) lock(ctx context.Context, key string) (unlock func(), err error) {
	unlock, err = s.keys.LockContext(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("wait for another call about snapshot %q: %w", key, err)
	}
	return unlock, nil
}

func (s *Snapshotter) upper(id number) string { return s.dirs.Upper(uint64(id)) }
func (s *Snapshotter) work(id number) string  { return filepath.Join(s.dirs.Of(uint64(id)), "work") }
func (s *Snapshotter) usageFile(id number) string {
	return filepath.Join(s.dirs.Of(uint64(id)), "usage")
}

// owner returns the owner of trees that are mounted for a snapshot or a call in progress.
func (s *Snapshotter) owner(name string) string { return s.opts.Name + "/" + name }
func (s *Snapshotter) ownerOf(id number) string { return s.owner(id.String()) }
