package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/errdefs"

	"github.com/ladle-dev/ladle/idmap"
	"github.com/ladle-dev/ladle/merge"
	"github.com/ladle-dev/ladle/settle"
	"github.com/ladle-dev/ladle/stack"
)

// Prepare makes an active snapshot over parent and returns its mounts.
//
// If the client asks for a layer (label containerd.io/snapshot.ref and labels
// that say where the layer is) and the layer is lazily readable, Prepare makes
// the remote snapshot of it instead and returns ErrAlreadyExists. Otherwise,
// and whatever the reason, the client gets an active snapshot to unpack into.
//
// If the client asks for a merge or a copy (package merge), the snapshot shows it above
// parent. The errors are ErrInvalidArgument for malformed labels, ErrNotFound for a
// snapshot that the client does not have, ErrFailedPrecondition for one that is not
// committed, ErrNotImplemented for layers that cannot be merged and for a copy that cannot
// be made of links, and else ErrUnavailable. On a full disk the error is
// ErrResourceExhausted, and nothing was made.
//
// If the labels have the mapping of a user namespace, the mounts show the files of parent with
// the owners that it says (mapping.go).
//
// A request that needs a capability that ladle does not have is ErrFailedPrecondition.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) (_ []mount.Mount, err error) {
	defer classifyFull(&err)
	info, err := infoOf(opts)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m := making{kind: snapshots.KindActive, key: key, parent: parent, labels: storedLabels(info.Labels)}
	if info.Labels[snapshots.LabelSnapshotRef] != "" {
		// Some labels of a layer are annotations of its image, which must not
		// request a merge or a copy.
		if m.orphan = isOrphan(parent, info.Labels); m.orphan {
			m.labels[orphanLabel] = "true"
		}
		if err := s.prepareRemote(ctx, key, parent, info.Labels); err != nil {
			return nil, err
		}
		return s.create(ctx, m)
	}
	ids, err := s.wantedMapping(ctx, parent, info.Labels)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", key, err)
	}
	m.mapped(ids)
	s.noteUnpacking(ctx, key)
	m.runs = true
	pairs, err := merge.ParseLabels(info.Labels)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w: %w", key, errdefs.ErrInvalidArgument, err)
	}
	if len(pairs) > 0 {
		return s.prepareMerge(ctx, m, pairs)
	}
	request, asked, err := merge.ParseCopy(info.Labels)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w: %w", key, errdefs.ErrInvalidArgument, err)
	}
	if asked {
		return s.prepareCopy(ctx, m, request)
	}
	return s.create(ctx, m)
}

// View makes a read-only snapshot of parent and returns its mounts, with owners as those of
// Prepare. A request that needs a capability that ladle does not have is ErrFailedPrecondition.
func (s *Snapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) (_ []mount.Mount, err error) {
	defer classifyFull(&err)
	info, err := infoOf(opts)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	ids, err := s.wantedMapping(ctx, parent, info.Labels)
	if err != nil {
		return nil, fmt.Errorf("view %q: %w", key, err)
	}
	m := making{kind: snapshots.KindView, key: key, parent: parent, labels: storedLabels(info.Labels)}
	m.mapped(ids)
	return s.create(ctx, m)
}

// making is a snapshot that is to be made.
type making struct {
	kind        snapshots.Kind
	key, parent string
	labels      map[string]string // that are stored
	chain       stack.Chain       // of parent; empty: not read yet
	stack       *stack.Stack      // of a merge
	upper       *stack.Upper      // of a copy
	runs        bool              // a process is likely to be started in it
	orphan      bool              // its parent is named when it is committed
	ids         idmap.Mapping     // of a mapped snapshot
}

// create makes a snapshot, with its directory and trees, or nothing.
func (s *Snapshotter) create(ctx context.Context, m making) ([]mount.Mount, error) {
	if err := s.refuseLies(ctx, m.parent); err != nil {
		return nil, err
	}
	u, err := s.createStored(ctx, m)
	if err != nil {
		return nil, err
	}
	if m.runs {
		s.opts.Layers.Starting(stack.Layers(u.lowers))
	}
	lowerdirs, err := s.mountLowers(ctx, u, s.mountTree)
	if err == nil && m.kind == snapshots.KindActive {
		err = errors.Join(s.setOwner(u, lowerdirs), s.sharing.WaitLinked(ctx, uint64(u.id)))
	}
	if err != nil {
		// The caller's context may be why it failed.
		return nil, errors.Join(err, s.remove(context.WithoutCancel(ctx), m.key))
	}
	return s.mounts(m.key, u, lowerdirs), nil
}

// setOwner gives the upper directory of u the owner of its parent's root: the root of an
// overlay mount is the upper directory. The lowers that a merge has above its parent are
// not considered. That of a mapped snapshot has its owner already (makeDir).
func (s *Snapshotter) setOwner(u usable, lowerdirs []string) error {
	if !u.ids.IsNone() {
		return nil
	}
	if u.stack != nil {
		lowerdirs = lowerdirs[len(u.stack.Lowers):]
	}
	if len(lowerdirs) == 0 {
		return nil
	}
	return copyOwner(s.upper(u.id), lowerdirs[0])
}

// createStored makes the metadata and directories of a snapshot, or nothing.
func (s *Snapshotter) createStored(ctx context.Context, m making) (u usable, err error) {
	if err := s.skipNumbers(ctx); err != nil {
		return usable{}, err
	}
	stored := false
	err = s.sharing.Make(func() (settle.View, error) {
		if u, err = s.storeMade(ctx, m); err != nil {
			return settle.View{}, err
		}
		stored = true
		return u.view(), nil
	})
	if err != nil && stored {
		err = errors.Join(err, s.remove(context.WithoutCancel(ctx), m.key))
	}
	return u, err
}

// storeMade makes the metadata and directories of a snapshot in one transaction. The
// snapshot of a merge claims the layers of its stack.
func (s *Snapshotter) storeMade(ctx context.Context, m making) (u usable, err error) {
	err = s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		made, err := storage.CreateSnapshot(ctx, m.kind, m.key, m.parent, snapshots.WithLabels(m.labels))
		if err != nil {
			return fmt.Errorf("make snapshot %q: %w", m.key, err)
		}
		s.clientKeys.add(m.key)
		chain, err := m.parentChain(ctx, made)
		if err != nil {
			return err
		}
		u = usable{id: numberOf(made.ID), kind: m.kind, stack: m.stack, orphan: m.orphan, ids: m.ids}
		if m.upper != nil {
			u.copied = &m.upper.Copied
		}
		if u.setLowers(chain); u.hasDir {
			err = s.makeDir(u, m.upper)
		}
		return err
	})
	if err == nil && m.stack != nil {
		for _, layer := range m.stack.Layers() {
			s.opts.Claims.Claim(layer)
		}
	}
	return u, err
}

// parentChain returns the chain of the parent of the snapshot made. It needs the
// transaction that made it.
func (m making) parentChain(ctx context.Context, made storage.Snapshot) (stack.Chain, error) {
	if len(m.chain) == 0 {
		return readChain(ctx, m.parent)
	}
	if numberOf(made.ParentIDs[0]) != number(m.chain.Top()) {
		return nil, fmt.Errorf("parent %q of snapshot %q was removed and made again meanwhile: %w", m.parent, m.key, errdefs.ErrUnavailable)
	}
	return m.chain, nil
}

// makeDir makes the directory of a snapshot as a whole or not at all. It is called in the
// transaction that gave the snapshot its number, while no other call makes or sweeps
// directories. A directory of that name was left by a transaction that was rolled back.
//
// The upper directory of a mapped snapshot belongs to the root of its container, as that of
// overlayfs does, whose root directory it is.
func (s *Snapshotter) makeDir(u usable, upper *stack.Upper) error {
	dir, err := os.MkdirTemp(string(s.dirs), "new-")
	if err != nil {
		return err
	}
	if upper != nil {
		err = os.Rename(upper.Dir, filepath.Join(dir, "fs"))
	} else {
		err = os.Mkdir(filepath.Join(dir, "fs"), 0o755)
	}
	if err == nil && !u.ids.IsNone() {
		user, group := u.ids.Root()
		err = os.Lchown(filepath.Join(dir, "fs"), int(user), int(group))
	}
	if err == nil && u.kind == snapshots.KindActive {
		err = os.Mkdir(filepath.Join(dir, "work"), 0o711)
	}
	if err == nil {
		err = s.dirs.Adopt(u.stack, dir)
	}
	final := s.dirs.Of(uint64(u.id))
	if err == nil {
		err = os.RemoveAll(final)
	}
	if err == nil {
		err = os.Rename(dir, final)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

// copyOwner gives dir the owner of from.
func copyOwner(dir, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	return os.Lchown(dir, int(st.Uid), int(st.Gid))
}
