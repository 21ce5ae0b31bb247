package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/settle"
	"github.com/ladle-dev/ladle/stack"
	"github.com/ladle-dev/ladle/store"
)

// parallelMounts bounds the trees that are mounted at once for one snapshot.
const parallelMounts = 8

// Mounts returns the mounts of an active snapshot or a view, as Prepare and
// View returned them. If its layers cannot be mounted, the error is
// ErrUnavailable.
func (s *Snapshotter) Mounts(ctx context.Context, key string) (_ []mount.Mount, err error) {
	defer classifyFull(&err)
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var u usable
	err = s.meta.WithTransaction(ctx, false, func(ctx context.Context) (err error) {
		u, err = readUsable(ctx, key)
		return err
	})
	if err == nil {
		err = s.refuseLies(ctx, u.parent)
	}
	if err != nil {
		return nil, err
	}
	lowerdirs, err := s.mountLowers(ctx, u, s.mountTree)
	if err != nil {
		return nil, err
	}
	return s.mounts(key, u, lowerdirs), nil
}

// usable is a snapshot that can be mounted: active or a view.
type usable struct {
	id   number
	kind snapshots.Kind
	// parent is the key of the parent, if u was read from the metadata.
	parent string
	stack  *stack.Stack // of a merge
	// lowers are what is below the upper directory, or what a view shows, the topmost
	// first.
	lowers []stack.Lower
	hasDir bool // it has an upper directory: it is not a view of a parent
	// copied is nil unless the snapshot was prepared as a copy. A copy is mounted
	// read-only, since its files are also files of other snapshots.
	copied *settle.Copied
	orphan bool          // its parent is named when it is committed
	ids    idmap.Mapping // of a mapped snapshot
}

// setLowers sets what follows from the chain of u's parent.
func (u *usable) setLowers(chain stack.Chain) {
	u.hasDir = u.kind == snapshots.KindActive || len(chain) == 0
	if u.stack != nil {
		own := stack.Snapshot{ID: uint64(u.id), Stack: &stack.Stack{Lowers: u.stack.Lowers, Bare: true}}
		chain = append(slices.Clip(chain), own)
	}
	if u.kind == snapshots.KindView {
		u.lowers = chain.View()
	} else {
		u.lowers = chain.Active()
	}
}

// readUsable needs a transaction.
func readUsable(ctx context.Context, key string) (usable, error) {
	id, info, _, err := storage.GetInfo(ctx, key)
	if err != nil {
		return usable{}, err
	}
	if info.Kind == snapshots.KindCommitted {
		return usable{}, fmt.Errorf("mounts of committed snapshot %q: %w", key, errdefs.ErrFailedPrecondition)
	}
	st, err := stackOf(info)
	if err != nil {
		return usable{}, err
	}
	chain, err := readChain(ctx, info.Parent)
	if err != nil {
		return usable{}, err
	}
	u := usable{id: numberOf(id), kind: info.Kind, parent: info.Parent, stack: st}
	u.setLowers(chain)
	_, u.orphan = info.Labels[orphanLabel]
	if u.ids, err = mappingOf(info); err != nil {
		return usable{}, err
	}
	u.copied, err = copiedFrom(info)
	return u, err
}

// mountLowers returns the lowerdirs of u, the topmost first. It mounts trees by mount, which
// is mountTree, or Trees.Mount if lost layers are not to be fetched. The trees are u's
// until they are released. The lowerdirs of a mapped snapshot are clones (mapping.go). u's key
// is locked.
func (s *Snapshotter) mountLowers(ctx context.Context, u usable, mount func(context.Context, string, store.Spec) (string, error)) ([]string, error) {
	if err := s.checkDirs(u); err != nil {
		return nil, err
	}
	dirs := make([]string, len(u.lowers))
	group, mountCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelMounts)
	for i, l := range u.lowers {
		if !l.IsTree() {
			dirs[i] = s.dirs.Lower(l)
			continue
		}
		group.Go(func() error {
			tree, err := mount(mountCtx, s.ownerOf(u.id), l.Tree)
			if err == nil {
				dirs[i], err = s.throughLink(mountCtx, tree)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("layers of snapshot %s: %w: %w", s.ownerOf(u.id), errdefs.ErrUnavailable, err)
	}
	if u.ids.IsNone() {
		return dirs, nil
	}
	dirs, err := s.mountMapped(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("layers of snapshot %s: %w", s.ownerOf(u.id), err)
	}
	return dirs, nil
}

// throughLink returns the path of a mounted tree through a link below the directory of
// upper directories. The options of mount(2) must fit into one page. Clients leave out the
// path that all lowerdirs begin with: they change to that directory (containerd core/mount,
// compactLowerdirOption). If trees had another one, a chain of 130 local snapshots would be
// too long. The link is not the last element of the path, since walks of a differ do not
// follow that.
func (s *Snapshotter) throughLink(ctx context.Context, tree string) (string, error) {
	link, trees := filepath.Join(string(s.dirs), stack.TreesName), filepath.Dir(tree)
	if to, err := os.Readlink(link); err != nil || to != trees {
		// A sweep, which is exclusive, too, could delete a link that is being made.
		err := s.meta.Exclusively(ctx, func(context.Context) error { return replaceLink(link, trees) })
		if err != nil {
			return "", fmt.Errorf("link to trees: %w", err)
		}
	}
	return filepath.Join(link, filepath.Base(tree)), nil
}

// replaceLink makes the symbolic link link, and replaces one that is there.
func replaceLink(link, target string) error {
	dir, err := os.MkdirTemp(filepath.Dir(link), "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "link")
	if err := os.Symlink(target, made); err != nil {
		return err
	}
	return os.Rename(made, link)
}

// mounts returns one mount, of type overlay or bind, with the options that containerd's
// overlayfs snapshotter uses, which BuildKit and the unpacker of containerd read, and with
// xino (xino.of). The mount of an active snapshot is not read-only, or the unpacker would
// take an empty layer for a complete one (containerd 2.4, core/unpack, isStaged), except for
// that of a copy. A read-only overlay mount has no upperdir, and no option ro.
func (s *Snapshotter) mounts(key string, u usable, lowerdirs []string) []mount.Mount {
	if u.copied != nil {
		lowerdirs, u.kind = append([]string{s.upper(u.id)}, lowerdirs...), snapshots.KindView
	}
	if u.orphan {
		lowerdirs = []string{s.dirs.Diff(stack.Empty)} // containerd unpacks with whiteouts if there is a lowerdir
	}
	switch {
	case len(lowerdirs) == 0 && u.kind == snapshots.KindActive:
		return bind(s.upper(u.id), "rw")
	case len(lowerdirs) == 0:
		return bind(s.upper(u.id), "ro")
	case len(lowerdirs) == 1 && u.kind == snapshots.KindView:
		return bind(lowerdirs[0], "ro")
	}
	var options []string
	if u.kind == snapshots.KindActive {
		options = append(options, "workdir="+s.work(u.id), "upperdir="+s.upper(u.id))
	}
	options = append(options, "lowerdir="+strings.Join(lowerdirs, ":"))
	options = append(options, s.options...)
	if xino := s.xino.of(u.kind, key, u.lowers); xino != "" {
		options = append(options, xino)
	}
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: options}}
}

func bind(dir, access string) []mount.Mount {
	return []mount.Mount{{Type: "bind", Source: dir, Options: []string{access, "rbind"}}}
}
