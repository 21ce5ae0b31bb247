package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/log"
	bolt "go.etcd.io/bbolt"

	"github.com/ladle-dev/ladle/durable"
)

// openMetadata opens or makes the metadata in dir. boot names the time since
// the machine was started, and named are the directories of which the metadata names
// entries. They need not be there yet. Metadata that is there is opened also if there
// is no space on the disk.
func openMetadata(ctx context.Context, dir, boot string, named ...string) (*metaStore, error) {
	m := &metaStore{
		dir: dir, named: named, boot: boot, synced: boot == "", dirty: make(chan struct{}, 1), saving: make(chan struct{}, 1),
		ending: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := m.recover(ctx); err != nil {
		return nil, err
	}
	if err := m.writeInPlace(); err != nil {
		log.G(ctx).WithError(err).Warn("on a full disk there may be no space for metadata of snapshots")
	}
	if err := m.open(); err != nil {
		return nil, err
	}
	if boot == "" {
		close(m.ended)
		return m, nil
	}
	// There is a saved file before the first transaction that is not synced.
	err := m.protect(ctx)
	if durable.NoSpace(err) {
		log.G(ctx).WithError(err).Warn("no space is left to save metadata of snapshots: each change waits for the disk")
		err = m.syncEach(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.MetaStore.Close())
	}
	// It lives as long as the endpoint, not as the call that opens it.
	go m.keepSaving(context.WithoutCancel(ctx))
	return m, nil
}

// open opens the database.
func (m *metaStore) open() (err error) {
	m.MetaStore, err = storage.NewMetaStore(m.path(metadataFile), func(o *bolt.Options) error {
		o.Timeout = lockTimeout
		o.NoSync, o.NoGrowSync = !m.synced, !m.synced
		o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			m.file, err = os.OpenFile(name, flag, mode)
			return m.file, err
		}
		return nil
	})
	return err
}

// recover puts the saved file in place if the machine was reset since the
// metadata was in use.
func (m *metaStore) recover(ctx context.Context) error {
	state, err := os.ReadFile(m.path(stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // new, or always synced
	}
	if err != nil {
		return err
	}
	if s := strings.TrimSpace(string(state)); s == stateClosed || s == m.boot {
		return nil
	}
	if _, err := os.Lstat(m.path(savedFile)); errors.Is(err, os.ErrNotExist) {
		return nil // each transaction was synced
	}
	log.G(ctx).Warn("the machine was not shut down: snapshots are as they were last saved")
	m.lost.Store(true)
	return m.restore()
}

// restore makes the metadata a copy of the saved file, in the blocks of its
// standby. If there is no space for a copy it makes it the saved file itself.
func (m *metaStore) restore() error {
	err := m.copyTo(savedFile)
	if err == nil {
		err = os.Rename(m.path(savedFile)+durable.Suffix, m.path(metadataFile))
	}
	if durable.NoSpace(err) {
		err = os.Rename(m.path(savedFile), m.path(metadataFile))
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(m.dir)
}

// copyTo makes the standby of the saved file a synced copy of the file name.
func (m *metaStore) copyTo(name string) (err error) {
	from, err := os.Open(m.path(name))
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	made, err := durable.CreateStandby(m.path(savedFile), setAside(info.Size()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, made.Close()) }()
	// Byte by byte: copy_file_range(2) would let the two share blocks on xfs and
	// btrfs, and then neither can be written in place.
	if _, err := io.Copy(struct{ io.Writer }{made}, struct{ io.Reader }{from}); err != nil {
		return err
	}
	return made.End()
}

// writeInPlace lets the filesystem write the metadata where it is, so that it can
// be written to on a full disk. Nobody has it open.
func (m *metaStore) writeInPlace() error {
	f, err := os.OpenFile(m.path(metadataFile), os.O_RDWR|os.O_CREATE, 0o600)
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
	if err := m.copyTo(metadataFile); err != nil {
		return err
	}
	if err := os.Rename(m.path(savedFile)+durable.Suffix, m.path(metadataFile)); err != nil {
		return err
	}
	return durable.SyncDir(m.dir)
}

// protect makes the saved file, says that the metadata is in use, and sets space
// aside. The saved file comes first, unless each transaction is synced: the state
// file says that there is a saved file to be used after a reset, or none.
func (m *metaStore) protect(ctx context.Context) error {
	steps := []func() error{
		func() error { return m.save(ctx) },
		func() error { return m.writeState(m.boot) },
	}
	if m.synced {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return errors.Join(durable.SetAside(m.path(stateFile), stateSize), m.setAside())
}

// syncEach goes on with a database of which each transaction is synced, unless
// the space of the saved file, which that needs not, is enough for all else.
func (m *metaStore) syncEach(ctx context.Context) error {
	if err := m.MetaStore.Close(); err != nil {
		return err
	}
	if err := m.giveUpSaved(ctx); err != nil {
		return fmt.Errorf("sync metadata: %w", err)
	}
	if err := m.open(); err != nil {
		return err
	}
	err := m.protect(ctx)
	if !durable.NoSpace(err) {
		return err
	}
	if err := m.MetaStore.Close(); err != nil {
		return err
	}
	if err := m.giveUpSaved(ctx); err != nil {
		return err
	}
	m.synced = true
	m.hasChanged() // it is saved as soon as there is space
	return m.open()
}
