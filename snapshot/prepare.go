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
)

// Prepare makes an active snapshot over parent and returns its mounts.
//
// If the client asks for a layer (label containerd.io/snapshot.ref and labels
// that say where the layer is) and the layer is lazily readable, Prepare makes
// the remote snapshot of it instead and returns ErrAlreadyExists. Otherwise,
// and whatever the reason, the client gets an active snapshot to unpack into.
func (s *Snapshotter) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	info, err := infoOf(opts)
	if err != nil {
		return nil, err
	}
	defer s.lock(key)()
	if info.Labels[snapshots.LabelSnapshotRef] != "" {
		if err := s.prepareRemote(ctx, key, parent, info.Labels); err != nil {
			return nil, err
		}
	}
	return s.create(ctx, snapshots.KindActive, key, parent, info.Labels)
}

// View makes a read-only snapshot of parent and returns its mounts.
func (s *Snapshotter) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	info, err := infoOf(opts)
	if err != nil {
		return nil, err
	}
	defer s.lock(key)()
	return s.create(ctx, snapshots.KindView, key, parent, info.Labels)
}

// create makes a snapshot, with its directory and trees, or nothing.
func (s *Snapshotter) create(ctx context.Context, kind snapshots.Kind, key, parent string, labels map[string]string) ([]mount.Mount, error) {
	u, err := s.createStored(ctx, kind, key, parent, kept(labels))
	if err != nil {
		return nil, err
	}
	lowerdirs, err := s.mountLowers(ctx, u)
	if err == nil && kind == snapshots.KindActive && len(lowerdirs) > 0 {
		err = copyOwner(s.upper(u.id), lowerdirs[0])
	}
	if err != nil {
		// The caller's context may be why it failed.
		return nil, errors.Join(err, s.remove(context.WithoutCancel(ctx), key))
	}
	return s.mounts(u, lowerdirs), nil
}

// createStored makes the metadata and directories of a snapshot.
func (s *Snapshotter) createStored(ctx context.Context, kind snapshots.Kind, key, parent string, labels map[string]string) (usable, error) {
	var u usable
	err := s.meta.WithTransaction(ctx, true, func(ctx context.Context) error {
		made, err := storage.CreateSnapshot(ctx, kind, key, parent, snapshots.WithLabels(labels))
		if err != nil {
			return fmt.Errorf("make snapshot %q: %w", key, err)
		}
		chain, err := readChain(ctx, parent)
		if err != nil {
			return err
		}
		u = usable{made.ID, kind, chain}
		return s.makeDir(u)
	})
	return u, err
}

// makeDir makes the directory of a snapshot as a whole or not at all. Within
// the write transaction that gave the snapshot its number, nobody else makes or
// sweeps directories; what has its name was left by a transaction that was
// rolled back.
func (s *Snapshotter) makeDir(u usable) error {
	dir, err := os.MkdirTemp(s.dir, "new-")
	if err != nil {
		return err
	}
	err = os.Mkdir(filepath.Join(dir, "fs"), 0o755)
	if err == nil && u.kind == snapshots.KindActive {
		err = os.Mkdir(filepath.Join(dir, "work"), 0o711)
	}
	final := filepath.Join(s.dir, u.id)
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

// copyOwner gives dir the owner of from: the root of what an overlay mount
// shows is the upper directory.
func copyOwner(dir, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	return os.Lchown(dir, int(st.Uid), int(st.Gid))
}
