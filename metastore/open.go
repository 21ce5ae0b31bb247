package metastore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/log"
	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
)

// Open opens or creates the store in dir. An existing store is opened also if there is no
// space on the disk. If the snapshots cannot be known from the files the error is an
// ErrDamaged, and if only a later version can know them, a durable.ErrLaterFormat; nothing
// is changed then. ctx ends the call, and not the goroutine of the store.
func Open(ctx context.Context, dir string, opts Options) (*Store, error) {
	if opts.BootID == "" {
		return nil, errors.New("metastore: BootID is needed")
	}
	s := &Store{
		dir: dir, opts: opts, dirty: make(chan struct{}, 1), saving: make(chan struct{}, 1),
		ending: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := s.choose(ctx); err != nil {
		return nil, err
	}
	if err := s.writeInPlace(); err != nil {
		log.G(ctx).WithError(err).Warn("on a full disk there may be no space for metadata of snapshots")
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	// There is a saved file before the first transaction that is not synced.
	err := s.protect(ctx)
	if durable.NoSpace(err) {
		if removed, removeErr := s.removeMoved(); removed && removeErr == nil {
			err = s.protect(ctx)
		}
	}
	if durable.NoSpace(err) {
		log.G(ctx).WithError(err).Warn("no space is left to save metadata of snapshots: each change waits for the disk")
		err = s.syncEach(ctx)
	}
	if err == nil {
		// The first transaction opens the file, at which keepSaving looks.
		err = s.db.WithTransaction(ctx, false, func(context.Context) error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	go s.keepSaving(context.WithoutCancel(ctx)) // until Close
	return s, nil
}

// open opens the database.
func (s *Store) open() (err error) {
	s.db, err = storage.NewMetaStore(s.path(DBFile), func(o *bolt.Options) error {
		o.Timeout = lockTimeout
		o.NoSync, o.NoGrowSync = !s.synced, !s.synced
		o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			s.file, err = os.OpenFile(name, flag, mode)
			return s.file, err
		}
		return nil
	})
	return err
}

// restore replaces the database by a copy of the first size bytes of the saved file, in the
// blocks of its standby. If there is no space for a copy it renames the saved file.
func (s *Store) restore(size int64) error {
	err := s.copyTo(SavedFile, size)
	if err == nil {
		err = os.Rename(s.path(SavedFile)+durable.Suffix, s.path(DBFile))
	}
	if durable.NoSpace(err) {
		if err = os.Truncate(s.path(SavedFile), size); err == nil {
			err = os.Rename(s.path(SavedFile), s.path(DBFile))
		}
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(s.dir)
}

// copyTo makes the standby of the saved file a synced copy of the first size bytes of the
// file name.
func (s *Store) copyTo(name string, size int64) (err error) {
	from, err := os.Open(s.path(name))
	if err != nil {
		return err
	}
	defer from.Close()
	made, err := durable.CreateStandby(s.path(SavedFile), setAside(size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	// Byte by byte: copy_file_range(2) would let the two share blocks on xfs and
	// btrfs, and then neither can be written in place.
	if _, err := io.Copy(struct{ io.Writer }{made}, io.LimitReader(from, size)); err != nil {
		return err
	}
	return made.End()
}

// writeInPlace makes the filesystem overwrite the blocks of the database in place, so that
// it can be written to on a full disk. No process has it open.
func (s *Store) writeInPlace() error {
	f, err := os.OpenFile(s.path(DBFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 || durable.InPlace(f) {
		return durable.Allocate(f, setAside(info.Size()))
	}
	if err := s.copyTo(DBFile, info.Size()); err != nil {
		return err
	}
	if err := os.Rename(s.path(SavedFile)+durable.Suffix, s.path(DBFile)); err != nil {
		return err
	}
	return durable.SyncDir(s.dir)
}

// protect makes the saved file, writes the boot id to the state file, and sets space aside.
// The saved file comes first, so that it is there whenever the state file has a boot id,
// unless each transaction is synced.
func (s *Store) protect(ctx context.Context) error {
	steps := []func() error{
		func() error { return s.save(ctx) },
		func() error { return s.writeState(s.opts.BootID) },
	}
	if s.synced {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return errors.Join(durable.SetAside(s.path(StateFile), stateSize), s.setAside())
}

// syncEach opens the database again with each transaction synced, without a saved file,
// unless the space that the saved file had is enough for protect.
func (s *Store) syncEach(ctx context.Context) error {
	if err := s.db.Close(); err != nil {
		return err
	}
	if err := s.giveUpSaved(ctx); err != nil {
		return fmt.Errorf("sync metadata: %w", err)
	}
	if err := s.open(); err != nil {
		return err
	}
	err := s.protect(ctx)
	if !durable.NoSpace(err) {
		return err
	}
	if err := s.db.Close(); err != nil {
		return err
	}
	if err := s.giveUpSaved(ctx); err != nil {
		return err
	}
	s.synced = true
	s.hasChanged() // it is saved as soon as there is space
	return s.open()
}
